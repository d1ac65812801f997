<?php
// For PHP-FPM: a persistent connection.
$database = pg_pconnect("");
$number = (int) $_GET["number"];
$row = pg_fetch_row(pg_query($database, "select $number * 7, pg_backend_pid(), pg_sleep(0.01)"));
header("Content-Type: text/plain");
echo "$row[0] $row[1] ", getmypid();
