# usage: idle.rb pg|activerecord|unhooked CHILDREN SECONDS
#
# idle.py in Ruby: the driver alone; ActiveRecord's pool, whose fork hooks throw it away in a
# child; and the same without those hooks, as where something forks that Ruby does not see.
require "pg"

KIND, CHILDREN, SECONDS = ARGV[0], Integer(ARGV[1]), Integer(ARGV[2])
SESSIONS = 3
ROUNDS = 10
STATE = "execute kept"
$stdout.sync = true

def say(kind, **facts)
  line = ["@#{kind}", "pid=#{Process.pid}", *facts.map { |name, value| "#{name}=#{Array(value).join(",").split.join(" ")[0, 300]}" }]
  $stdout.syswrite(line.join("\t") + "\n")
end

def width(number) = [10, 3_000, 20_000][number % 3]

class Driver
  def initialize = renew

  def renew = @connection = PG.connect

  # Values as text, as pg gives them.
  def ask(sql) = @connection.exec(sql).values.first

  def question(number)
    @connection.exec_params("select $1::int * 7, repeat(chr(97 + $1::int % 26), $2), pg_backend_pid()", [number, width(number)]).values.first
  end

  def lost(_) = @connection.status == PG::CONNECTION_BAD
end

# A connection of the pool for each of its users; returned to it after each question.
class Pooled
  class Record < (require "active_record"; ActiveRecord::Base)
    self.abstract_class = true
  end

  def self.pool
    Record.connection_pool
  end

  def initialize
    @connection = nil
  end

  attr_writer :connection

  def renew; end # the pool does: it asks a connection whether it lives before it hands it out

  def ask(sql) = @connection.select_rows(sql).first&.map(&:to_s)

  def question(number)
    bind = ->(value) { ActiveRecord::Relation::QueryAttribute.new("n", value, ActiveRecord::Type::Integer.new) }
    sql = "select $1::int * 7, repeat(chr(97 + $1::int % 26), $2::int), pg_backend_pid()"
    @connection.select_rows(sql, "question", [bind[number], bind[width(number)]]).first.map(&:to_s)
  end

  def lost(_) = !@connection.active?
end unless KIND == "pg" # a system may have the driver alone

# Runs the block with SESSIONS clients that can be asked.
def with_clients(clients)
  return yield(clients) if KIND == "pg"
  pool = Pooled.pool
  taken = clients.map { pool.checkout }
  # The pool hands them out in no order to rely on.
  names = taken.to_h { |connection| [connection, connection.select_value("select current_setting('application_name')")] }
  taken.sort_by! { |connection| names[connection] }
  clients.zip(taken) { |client, connection| client.connection = connection }
  yield clients
ensure
  taken&.each { |connection| pool.checkin(connection) }
end

def right?(number, row) = row[0] == (number * 7).to_s && row[1] == (97 + number % 26).chr * width(number)

def look(client)
  client.ask(STATE)
rescue PG::Error, StandardError
  nil
end

def use(kind, clients, first)
  asked = right = failed = lost = state = 0
  backends, errors = [], []
  ROUNDS.times do |round|
    tries = 0
    begin
      with_clients(clients) do
        clients.each_with_index do |client, place|
          number = first + round * SESSIONS + place
          attempts = 0
          begin
            attempts += 1
            row = client.question(number)
            asked += 1
            right += 1 if right?(number, row)
            backends |= [row[2]]
          rescue StandardError => error
            failed += 1
            errors |= ["#{error.class}: #{error.message.lines.first}"]
            if client.lost(error)
              lost += 1
              client.renew
            end
            attempts < 2 && KIND == "pg" ? retry : asked += 1
          end
        end
        state = clients.zip($before).count { |client, was| look(client) == was } if round == ROUNDS - 1
      end
    end
  end
  say(kind, asked: asked, right: right, failed: failed, lost: lost, state: state, backends: backends, errors: errors)
end

if KIND == "pg"
  clients = Array.new(SESSIONS) { Driver.new }
else
  # libpq's environment says where.
  Pooled::Record.establish_connection(adapter: "postgresql", pool: SESSIONS, checkout_timeout: 5, database: ENV["PGDATABASE"], variables: {})
  clients = Array.new(SESSIONS) { Pooled.new }
  ActiveSupport::ForkTracker.instance_variable_get(:@callbacks).clear if KIND == "unhooked"
end
held = Driver.new

backends = with_clients(clients) do
  clients.each_with_index do |client, place|
    ["set application_name = 'idle #{place}'", "set timezone = 'Asia/Tokyo'", "set search_path = pg_catalog, public",
     "prepare kept as select current_setting('application_name'), current_setting('timezone'), current_setting('search_path')"].each { |sql| client.ask(sql) }
    2.times { client.question(0) }
  end
  $before = clients.map { |client| look(client) }
  clients.map { |client| client.ask("select pg_backend_pid()").first }
end
held.ask("begin")
held.ask("create temp table held as select 7 as n")
look_held = -> { held.ask("select pg_backend_pid(), txid_current(), (select n from held)") }
held_before = look_held.call
say("parent", backends: [*backends, held_before[0]])

children = (1..CHILDREN).map do |number|
  fork do
    Signal.trap("ALRM", "DEFAULT")
    Thread.new { sleep(SECONDS); Process.kill(:KILL, Process.pid) }
    use("child", clients, 10_000 * number)
  rescue StandardError => error
    say("broken", error: "#{error.class}: #{error.message.lines.first}")
  end
end
Thread.new { sleep(SECONDS); Process.kill(:KILL, Process.pid) }
use("asking", clients, 100_000) if CHILDREN > 1
children.each { |pid| Process.wait(pid) }

same = 0
begin
  with_clients(clients) do
    same = clients.each_index.count do |place|
      look(clients[place]) == $before[place] && clients[place].ask("select pg_backend_pid()").first == backends[place]
    end
  end
  same += 1 if look_held.call == held_before
rescue StandardError
end
say("after", same: same)
