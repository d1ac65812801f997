<?php
/* usage: idle.php pg_connect|pg_pconnect|PDO CHILDREN SECONDS
 *
 * idle.py in PHP. */
[, $kind, $children, $seconds] = $argv;
const SESSIONS = 3;
const ROUNDS = 10;
const WIDTHS = [10, 3_000, 20_000];

function say(string $kind, array $facts): void
{
    $line = "@$kind\tpid=" . getmypid();
    foreach ($facts as $name => $value) {
        $value = is_array($value) ? implode(",", $value) : $value;
        $line .= "\t$name=" . substr(preg_replace('/\s+/', " ", trim($value)), 0, 300);
    }
    fwrite(STDOUT, "$line\n");
}

class Functions
{
    private $connection;

    function __construct(private string $connect, private string $name)
    {
        $this->renew();
    }

    function renew(): void
    {
        // One persistent connection for each text.
        $connect = $this->connect;
        $this->connection = $connect === "pg_connect"
            ? pg_connect("", PGSQL_CONNECT_FORCE_NEW)
            : pg_pconnect("fallback_application_name='$this->name'");
        pg_prepare($this->connection, "question", QUESTION) ?: throw new Exception("prepare");
    }

    private function row($result): ?array
    {
        if (!$result) {
            throw new Exception(pg_last_error($this->connection));
        }
        return pg_num_rows($result) ? pg_fetch_row($result) : null;
    }

    function ask(string $sql): ?array
    {
        return $this->row(@pg_query($this->connection, $sql));
    }

    function question(int $number): ?array
    {
        return $this->row(@pg_execute($this->connection, "question", [$number, WIDTHS[$number % 3]]));
    }

    function lost(): bool
    {
        return pg_connection_status($this->connection) === PGSQL_CONNECTION_BAD;
    }
}

class Objects
{
    private PDO $connection;
    private PDOStatement $question;

    function __construct()
    {
        $this->renew();
    }

    function renew(): void
    {
        $this->connection = new PDO("pgsql:");
        $this->connection->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
        $this->question = $this->connection->prepare(strtr(QUESTION, ["$1" => "cast(:n as int)", "$2" => ":width", "::int" => ""]));
    }

    function ask(string $sql): ?array
    {
        $statement = $this->connection->query($sql);
        return $statement->columnCount() ? array_map(strval(...), $statement->fetch(PDO::FETCH_NUM)) : null;
    }

    function question(int $number): ?array
    {
        $this->question->execute(["n" => $number, "width" => WIDTHS[$number % 3]]);
        return $this->question->fetchAll(PDO::FETCH_NUM)[0];
    }

    function lost(): bool
    {
        return stripos($this->connection->getAttribute(PDO::ATTR_CONNECTION_STATUS), "bad") !== false;
    }
}

const QUESTION = 'select $1::int * 7, repeat(chr(97 + $1::int % 26), $2::int), pg_backend_pid()';

function look($client): ?array
{
    try {
        return $client->ask("execute kept");
    } catch (Exception) {
        return null;
    }
}

function use_all(string $kind, int $first): void
{
    global $clients, $before;
    $asked = $right = $failed = $lost = $state = 0;
    $backends = $errors = [];
    for ($round = 0; $round < ROUNDS; $round++) {
        foreach ($clients as $client) {
            $number = $first + $asked++;
            for ($attempt = 0; $attempt < 2; $attempt++) {
                try {
                    $row = $client->question($number);
                    $right += $row[0] == $number * 7 && $row[1] === str_repeat(chr(97 + $number % 26), WIDTHS[$number % 3]);
                    $backends[$row[2]] = $row[2];
                    break;
                } catch (Exception $error) {
                    $failed++;
                    $line = strtok($error->getMessage(), "\n");
                    $errors[$line] = $line;
                    if ($client->lost()) {
                        $lost++;
                        $client->renew();
                    }
                }
            }
        }
    }
    foreach ($clients as $place => $client) {
        $state += look($client) === $before[$place];
    }
    say($kind, compact("asked", "right", "failed", "lost", "state", "backends", "errors"));
}

function look_held(): ?array
{
    global $held;
    return $held->ask("select pg_backend_pid(), txid_current(), (select n from held)");
}

$clients = $before = $own = [];
for ($place = 0; $place < SESSIONS; $place++) {
    $clients[] = $client = $kind === "PDO" ? new Objects() : new Functions($kind, "place $place");
    foreach ([
        "set application_name = 'idle $place'",
        "set timezone = 'Asia/Tokyo'",
        "set search_path = pg_catalog, public",
        "prepare kept as select current_setting('application_name'), current_setting('timezone'), current_setting('search_path')",
    ] as $sql) {
        $client->ask($sql);
    }
    $client->question(0);
    $before[] = look($client);
    $own[] = $client->ask("select pg_backend_pid()")[0];
}
$held = $kind === "PDO" ? new Objects() : new Functions($kind, "held");
$held->ask("begin");
$held->ask("create temp table held as select 7 as n");
$held_before = look_held();
say("parent", ["backends" => [...$own, $held_before[0]]]);

$pids = [];
for ($number = 1; $number <= $children; $number++) {
    $pid = pcntl_fork();
    if ($pid === 0) {
        pcntl_alarm((int) $seconds);
        use_all("child", 10_000 * $number);
        exit(0);
    }
    $pids[] = $pid;
}
pcntl_alarm((int) $seconds);
if ($children > 1) {
    use_all("asking", 100_000);
}
foreach ($pids as $pid) {
    pcntl_waitpid($pid, $status);
}

$same = 0;
foreach ($clients as $place => $client) {
    try {
        $same += look($client) === $before[$place] && $client->ask("select pg_backend_pid()")[0] === $own[$place];
    } catch (Exception) {
    }
}
try {
    $same += look_held() === $held_before;
} catch (Exception) {
}
say("after", ["same" => $same]);
