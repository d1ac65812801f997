# usage: exits.pl CHILDREN: see exits.py. A statement that the server has prepared is deallocated when
# it is destroyed.
use strict;
use warnings;
use DBI;

$| = 1;
my ($children) = @ARGV;
my $connection = DBI->connect("dbi:Pg:", "", "", { RaiseError => 1 });
my $statement = $connection->prepare("select ?::int");
for (1 .. 3) { # from its second time on the server has it
    $statement->execute(1);
    $statement->fetchall_arrayref;
}

kill "STOP", $ENV{STOP} if $ENV{STOP};
for (1 .. $children) {
    my $pid = fork;
    exit 0 unless $pid;
    waitpid $pid, 0;
    print "ended: $?\n";
}
kill "CONT", $ENV{STOP} if $ENV{STOP};
print "sessions: 1\n";
$statement->execute(1);
print "parent: ", $statement->fetchall_arrayref->[0][0], "\n";
