# For Puma and Unicorn. ActiveRecord, and one connection of the application's own beside its pool:
# ActiveRecord looks after its pool at a fork, nobody after the other.
require "active_record"
require "pg"
require "rack"

ActiveRecord::Base.establish_connection(adapter: "postgresql", prepared_statements: false)
ActiveRecord::Base.connection.select_value("select 1")

$database = PG.connect
$database.exec("select 1")

run(lambda do |environment|
  number = Integer(Rack::Utils.parse_query(environment["QUERY_STRING"]).fetch("number"))
  begin
    row = $database.exec("select #{number} * 7, pg_backend_pid(), pg_sleep(0.01)").values.first
    ActiveRecord::Base.connection_pool.with_connection { |pooled| pooled.select_value("select 1") }
    [200, {"Content-Type" => "text/plain"}, ["#{row[0]} #{row[1]} #{Process.pid}"]]
  rescue => error
    [500, {"Content-Type" => "text/plain"}, ["#{error.class}: #{error.message}"]]
  end
end)
