<?php
// opcache.preload: run once, by the master, before it forks. A persistent connection outlives it.
pg_query(pg_pconnect(""), "select 1");
