# usage: idle.pl CHILDREN SECONDS
#
# idle.py in Perl, with DBI and DBD::Pg as they are set: no AutoInactiveDestroy.
use strict;
use warnings;
use DBI;
use POSIX ();

my ($children, $seconds) = @ARGV;
my ($sessions, $rounds) = (3, 10);
my @widths = (10, 3_000, 20_000);
my (@clients, @asks, @before);

sub say_facts {
    my ($kind, @facts) = @_;
    my $line = "\@$kind\tpid=$$";
    while (my ($name, $value) = splice @facts, 0, 2) {
        $value =~ s/\s+/ /g;
        $line .= "\t$name=" . substr($value, 0, 300);
    }
    syswrite STDOUT, "$line\n";
}

sub renew {
    my $place = shift;
    $clients[$place] = DBI->connect("dbi:Pg:", "", "", { AutoCommit => 1, RaiseError => 1, PrintError => 0 });
    # From its second time on DBD::Pg has it prepared by the server.
    $asks[$place] = $clients[$place]->prepare(
        "select \$1::int * 7, repeat(chr(97 + \$1::int % 26), \$2::int), pg_backend_pid()");
}

sub question {
    my ($place, $number) = @_;
    $asks[$place]->execute($number, $widths[$number % 3]);
    my $row = $asks[$place]->fetchrow_arrayref;
    my @row = @$row;
    $asks[$place]->finish;
    return @row;
}

sub look { my $place = shift; return eval { join " ", $clients[$place]->selectrow_array("execute kept") } // "" }

sub use_all {
    my ($kind, $first) = @_;
    my ($asked, $right, $failed, $lost, $state, %backends, %errors) = (0, 0, 0, 0, 0);
    for my $round (1 .. $rounds) {
        for my $place (0 .. $sessions - 1) {
            my $number = $first + $asked++;
            for my $attempt (1, 2) {
                my @row = eval { question($place, $number) };
                if (@row) {
                    $right++ if $row[0] == $number * 7 && $row[1] eq chr(97 + $number % 26) x $widths[$number % 3];
                    $backends{ $row[2] } = 1;
                    last;
                }
                $failed++;
                my ($line) = split /\n/, $@ || "no row";
                $errors{$line} = 1;
                if (!$clients[$place]->ping) {
                    $lost++;
                    eval { $clients[$place]->disconnect };
                    renew($place);
                }
            }
        }
    }
    $state += look($_) eq $before[$_] for 0 .. $sessions - 1;
    say_facts($kind, asked => $asked, right => $right, failed => $failed, lost => $lost, state => $state,
        backends => join(",", keys %backends), errors => join(",", keys %errors));
}

my @backends;
for my $place (0 .. $sessions - 1) {
    renew($place);
    $clients[$place]->do("set application_name = 'idle $place'");
    $clients[$place]->do("set timezone = 'Asia/Tokyo'");
    $clients[$place]->do("set search_path = pg_catalog, public");
    $clients[$place]->do("prepare kept as select current_setting('application_name'), "
        . "current_setting('timezone'), current_setting('search_path')");
    question($place, $_) for 1 .. 3;
    $before[$place] = look($place);
    push @backends, $clients[$place]->selectrow_array("select pg_backend_pid()");
}
my $held = DBI->connect("dbi:Pg:", "", "", { AutoCommit => 0, RaiseError => 1, PrintError => 0 });
$held->do("create temp table held as select 7 as n");
sub look_held { return join " ", $held->selectrow_array("select pg_backend_pid(), txid_current(), (select n from held)") }
my $held_before = look_held();
say_facts("parent", backends => join(",", @backends, split(/ .*/, $held_before)));

my @pids;
for my $number (1 .. $children) {
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        alarm $seconds;
        use_all("child", 10_000 * $number);
        exit 0;
    }
    push @pids, $pid;
}
alarm $seconds;
use_all("asking", 100_000) if $children > 1;
waitpid $_, 0 for @pids;

my $same = 0;
for my $place (0 .. $sessions - 1) {
    my $backend = eval { $clients[$place]->selectrow_array("select pg_backend_pid()") } // 0;
    $same++ if look($place) eq $before[$place] && $backend == $backends[$place];
}
$same++ if (eval { look_held() } // "") eq $held_before;
say_facts("after", same => $same);
