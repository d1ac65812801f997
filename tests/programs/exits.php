<?php
/* usage: exits.php PDO|pg_connect|pg_pconnect CHILDREN: see exits.py. PDO deallocates a statement that
 * the server has prepared when it is destroyed. */
[, $kind, $children] = $argv;

if ($kind === "PDO") {
    $connection = new PDO("pgsql:", null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $statement = $connection->prepare("select ?::int");
    $ask = function () use ($statement) {
        $statement->execute([1]);
        return $statement->fetchAll()[0][0];
    };
} else {
    $connection = $kind("");
    pg_prepare($connection, "asked", 'select $1::int');
    $ask = fn() => pg_fetch_result(pg_execute($connection, "asked", [1]), 0, 0);
}

$ask();
$stopped = (int) getenv("STOP");
if ($stopped)
    posix_kill($stopped, SIGSTOP);
for ($number = 0; $number < $children; $number++) {
    $pid = pcntl_fork();
    if ($pid === 0)
        exit(0);
    pcntl_waitpid($pid, $status);
    fwrite(STDOUT, "ended: $status\n");
}
if ($stopped)
    posix_kill($stopped, SIGCONT);
fwrite(STDOUT, "sessions: 1\nparent: " . $ask() . "\n");
