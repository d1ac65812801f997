# usage: exits.rb pg|activerecord CHILDREN: see exits.py
require "pg"

KIND, CHILDREN = ARGV[0], Integer(ARGV[1])
$stdout.sync = true

if KIND == "pg"
  connection = PG.connect
  connection.prepare("asked", "select $1::int")
  ask = -> { connection.exec_prepared("asked", [1]).getvalue(0, 0) }
else
  require "active_record"
  ActiveRecord::Base.establish_connection(adapter: "postgresql")
  ask = -> { ActiveRecord::Base.connection.select_value("select 1", "asked") }
end

ask.call
stopped = ENV["STOP"]&.to_i
Process.kill("STOP", stopped) if stopped
CHILDREN.times do
  pid = fork { nil }
  _, status = Process.wait2(pid)
  puts "ended: #{status.exitstatus}"
end
Process.kill("CONT", stopped) if stopped
puts "sessions: 1"
puts "parent: #{ask.call}"
