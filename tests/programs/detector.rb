# A session made before a fork, and used by the child while the parent waits.
require "pg"

$stdout.sync = true
connection = PG.connect
use = -> { connection.exec("select 'the answer'").getvalue(0, 0) }

pid = fork do
  puts "answer=#{use.call}"
  exit! # nothing of the parent's is cleaned up here
end
Process.wait(pid)
puts "after=#{use.call}"
