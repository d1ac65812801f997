-- What applications and their libraries send, written by hand after their documentation and
-- logs. Every statement up to the mark is harmless to the reader; those behind it are not.

-- psycopg, libpq tools, pools
SELECT 1;
SELECT 1 AS one;
;
SELECT version();
SELECT pg_catalog.version();
SHOW transaction_isolation;
SHOW standard_conforming_strings;
SELECT current_schema();
SELECT current_setting('server_version_num')::integer;
SELECT pg_is_in_recovery();
SELECT pg_backend_pid(), current_user, session_user, current_database();
SELECT $1::int, $2::text, now() AT TIME ZONE 'utc';
SELECT to_regclass('public.users') IS NOT NULL;
SELECT typname, oid, typarray FROM pg_type WHERE typname = ANY($1) ORDER BY oid;
FETCH FORWARD 2000 FROM "named_cursor";
CLOSE "named_cursor";
DECLARE "_django_curs_1" NO SCROLL CURSOR WITHOUT HOLD FOR SELECT "a"."id" FROM "a";
DECLARE c CURSOR FOR SELECT * FROM t;

-- pgbench
UPDATE pgbench_accounts SET abalance = abalance + -4133 WHERE aid = 9133;
SELECT abalance FROM pgbench_accounts WHERE aid = 9133;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, 9133, -4133, CURRENT_TIMESTAMP);

-- SQLAlchemy
SELECT users.id AS users_id, users.name AS users_name FROM users WHERE users.id = %(pk_1)s;
SELECT anon_1.users_id, count(*) AS count_1 FROM (SELECT users.id AS users_id FROM users LIMIT 5 OFFSET 10) AS anon_1 LEFT OUTER JOIN addresses AS addresses_1 ON anon_1.users_id = addresses_1.user_id GROUP BY anon_1.users_id HAVING count(*) > 1 ORDER BY lower(anon_1.name) DESC NULLS LAST;
INSERT INTO users (name, fullname) VALUES ('a', 'it''s') RETURNING users.id;
INSERT INTO users (name, fullname) SELECT p0::VARCHAR, p1::VARCHAR FROM (VALUES ('a', 'b', 0), ('c', 'd', 1)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING users.id, users.id AS id__1;
UPDATE users SET name='x', updated_at=now() WHERE users.id = 5;
DELETE FROM users USING addresses WHERE users.id = addresses.user_id AND addresses.email IN ('a', 'b');
INSERT INTO kv (key, value) VALUES ('a', 'b') ON CONFLICT (key) DO UPDATE SET value = excluded.value, n = kv.n + 1 WHERE kv.value IS DISTINCT FROM excluded.value;
INSERT INTO kv (key, value) VALUES ('a', 'b') ON CONFLICT ON CONSTRAINT kv_pkey DO NOTHING;
SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relname = 't' AND pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm']) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != 'pg_catalog';
SELECT a.attname AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS format_type, (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef AS d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef) AS "default", (SELECT json_build_object('always', a.attidentity = 'a', 'start', s.seqstart) FROM pg_catalog.pg_sequence s) AS identity_options FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_description AS dsc ON a.attrelid = dsc.objoid;
WITH RECURSIVE tree(id, parent_id, depth) AS (SELECT n.id AS id, n.parent_id AS parent_id, 1 AS depth FROM nodes AS n WHERE n.parent_id IS NULL UNION ALL SELECT c.id AS id, c.parent_id AS parent_id, tree.depth + 1 AS anon_2 FROM nodes AS c, tree WHERE c.parent_id = tree.id) SELECT tree.id FROM tree ORDER BY tree.depth;
SELECT row_number() OVER (PARTITION BY a.b ORDER BY a.c DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS rn, lag(a.c, 1) OVER w FROM a WINDOW w AS (ORDER BY a.c);
SELECT users.id FROM users WHERE users.data ->> 'k' = 'v' AND users.tags @> ARRAY['a']::VARCHAR[] AND users.name ILIKE '%' || 'x' || '%' FOR UPDATE OF users SKIP LOCKED;
CREATE TABLE users (
	id SERIAL NOT NULL,
	name VARCHAR(50),
	price NUMERIC(10, 2) DEFAULT 0.0 CHECK (price >= 0),
	created TIMESTAMP(3) WITHOUT TIME ZONE DEFAULT now(),
	kind mood NOT NULL,
	data JSONB DEFAULT '{}'::jsonb,
	PRIMARY KEY (id),
	CONSTRAINT uq UNIQUE (name, kind),
	FOREIGN KEY(kind) REFERENCES moods (id) ON DELETE CASCADE
);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE INDEX ix_users_name ON users (name);
CREATE UNIQUE INDEX IF NOT EXISTS ix_u ON users USING btree (lower(name) varchar_pattern_ops, id DESC NULLS LAST) INCLUDE (kind) WITH (fillfactor = 70) WHERE (kind = 'ok');
CREATE INDEX CONCURRENTLY ix_g ON public.users USING gin (data jsonb_path_ops);
ALTER TABLE users ADD COLUMN age INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE users ALTER COLUMN age TYPE BIGINT USING age::bigint;
ALTER TABLE users ALTER COLUMN price SET DEFAULT 1;
ALTER TABLE users ADD CONSTRAINT fk FOREIGN KEY(age) REFERENCES ages (id) DEFERRABLE INITIALLY DEFERRED;
COMMENT ON COLUMN users.name IS 'who it is (really)';
DROP TABLE users CASCADE;

-- Django
SELECT "auth_user"."id", "auth_user"."password" FROM "auth_user" WHERE "auth_user"."username" = 'a' LIMIT 21;
SELECT (1) AS "a" FROM "app_x" WHERE UPPER("app_x"."name"::text) LIKE UPPER('%b%') LIMIT 1;
SELECT COUNT(*) AS "__count" FROM "app_x" INNER JOIN "app_y" ON ("app_x"."y_id" = "app_y"."id") WHERE NOT ("app_y"."flag" AND "app_y"."n" IN (SELECT U0."n" FROM "app_z" U0 WHERE U0."k" BETWEEN 1 AND 5));
SELECT DATE_TRUNC('day', "app_x"."at" AT TIME ZONE 'UTC') AS "day", COALESCE(SUM("app_x"."n"), 0) AS "s" FROM "app_x" GROUP BY 1 ORDER BY 1 ASC;
SELECT CASE WHEN (EXTRACT(YEAR FROM "a"."d" AT TIME ZONE 'UTC')) = 2020 THEN 1 ELSE (2) END FROM "a";
INSERT INTO "django_session" ("session_key", "session_data", "expire_date") VALUES ('k', 'd', '2020-01-01T00:00:00+00:00'::timestamptz) RETURNING "django_session"."session_key";
INSERT INTO "app_x" ("a", "b") (SELECT * FROM UNNEST((ARRAY[1, 2])::integer[], (ARRAY['a', 'b'])::text[])) RETURNING "app_x"."id";
UPDATE "app_x" SET "n" = ("app_x"."n" + 1), "t" = CONCAT('a', ("app_x"."t")::text) WHERE "app_x"."id" = 1;
DELETE FROM "app_x" WHERE "app_x"."id" IN (1, 2, 3);
SET CONSTRAINTS "fk_1" IMMEDIATE;
SET CONSTRAINTS ALL IMMEDIATE;
CREATE TABLE "app_x" ("id" bigint NOT NULL PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, "name" varchar(100) NOT NULL UNIQUE, "d" numeric(5, 2) NULL, "g" varchar(10) GENERATED ALWAYS AS (UPPER("name")) STORED);
CREATE INDEX "app_x_name_like" ON "app_x" ("name" varchar_pattern_ops);
ALTER TABLE "app_x" ADD COLUMN "y_id" bigint NULL CONSTRAINT "fk" REFERENCES "app_y"("id") DEFERRABLE INITIALLY DEFERRED; SET CONSTRAINTS "fk" IMMEDIATE;
SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid);

-- ActiveRecord, Sequel
SELECT "posts".* FROM "posts" WHERE "posts"."id" = $1 LIMIT $2;
SELECT DISTINCT ON ("posts"."author_id") "posts".*, row_number() OVER (ORDER BY created_at) FROM "posts";
SELECT t.oid, t.typname FROM pg_type as t LEFT JOIN pg_range as r ON oid = rngtypid WHERE t.typname IN ('int2', 'int4');
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"posts"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
INSERT INTO "posts" ("title", "created_at") VALUES ($1, $2) RETURNING "id";
INSERT INTO "posts" ("id","title") VALUES (1, 'a'), (2, E'it\'s; b') ON CONFLICT ("id") DO UPDATE SET "title"=excluded."title" RETURNING "id";
SELECT nextval('posts_id_seq'::regclass);
SELECT setval('posts_id_seq', 5, true);
SELECT pg_try_advisory_xact_lock(123);
SELECT * FROM generate_series(1, 3) g(n) CROSS JOIN LATERAL (SELECT g.n * 2) AS x(m);
SELECT id, temp, temperature FROM weather WHERE local = 1 AND "update" > 2;
INSERT INTO temp (a) VALUES (1);
WITH moved AS (DELETE FROM a WHERE id = 1 RETURNING *), kept (id) AS (SELECT 2), more (id) AS MATERIALIZED (INSERT INTO b SELECT * FROM moved RETURNING id) SELECT * FROM kept;
MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s.gone THEN DELETE WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, s.n);
SELECT string_agg(x, ',' ORDER BY x) FILTER (WHERE x <> ''), percentile_cont(0.5) WITHIN GROUP (ORDER BY n), array_agg(DISTINCT y) FROM t GROUP BY CUBE (c), GROUPING SETS ((a), (b));
SELECT * FROM json_to_recordset('[]') AS x(a int, b text), jsonb_array_elements(doc -> 'items') WITH ORDINALITY AS e(item, n), ROWS FROM (generate_series(1, 2), unnest(ARRAY[1])) AS r(a, b);
SELECT substring(a from 1 for 3), trim(both ' ' from b), position('x' in c), overlay(d placing 'y' from 2), cast(e as varchar(3)), e::numeric(4, 1), nullif(f, 0), greatest(1, 2), array(select 1), row(1, 2), (a, b) = (1, 2), exists (select 1), x like any (array['a']), interval '1 day' * 2, timestamp(3) '2020-01-01', "substring"(a, 1) FROM t;
EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT 1;
EXPLAIN ANALYZE VERBOSE UPDATE t SET a = 1;
LOCK TABLE "t" IN SHARE ROW EXCLUSIVE MODE;
TRUNCATE TABLE "a", "b" RESTART IDENTITY CASCADE;
VACUUM (ANALYZE) t (a, b);
REFRESH MATERIALIZED VIEW CONCURRENTLY mv;
NOTIFY channel, 'payload';
SELECT pg_notify('channel', 'payload');
GRANT SELECT (a, b), EXECUTE ON FUNCTION f(int) TO x;
CREATE VIEW v (a, b) AS SELECT 1, lower('X');
CREATE MATERIALIZED VIEW IF NOT EXISTS mv AS SELECT count(*) FROM t WITH DATA;
CREATE SCHEMA IF NOT EXISTS tenant_1;
CREATE SEQUENCE s START WITH 1 INCREMENT BY 1 OWNED BY t.id;
DROP FUNCTION IF EXISTS f(int, text);
DROP INDEX CONCURRENTLY IF EXISTS i;
COPY t TO '/tmp/x' WITH (FORMAT csv);
COMMIT PREPARED 'x';
SELECT doc @@ to_tsquery('english', 'a & b'), ts_rank(doc, plainto_tsquery('x')), ts_headline(body, q) FROM docs, websearch_to_tsquery('y') q;

-- Django's introspection, and a zone that is an expression.
SELECT c.conname, array(SELECT attname FROM unnest(c.conkey) WITH ORDINALITY cols(colid, arridx) JOIN pg_attribute AS ca ON cols.colid = ca.attnum WHERE ca.attrelid = c.conrelid ORDER BY cols.arridx) FROM pg_constraint AS c;
SELECT now() AT TIME ZONE ('UTC');

CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
-- The mark.
SELECT set_config('TimeZone', 'UTC', false);
SET client_encoding TO 'UTF8';
SET SESSION TIME ZONE 'UTC';
SET search_path TO "tenant_1", public;
SET client_min_messages TO warning;
SET standard_conforming_strings = on;
SET SESSION statement_timeout TO '1min';
SET intervalstyle = iso_8601;
SET datestyle TO 'ISO';
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
SET LOCAL lock_timeout = '1s';
SET ROLE app;
RESET ROLE;
RESET ALL;
BEGIN;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
START TRANSACTION READ ONLY;
COMMIT;
ROLLBACK;
SAVEPOINT "s1234_x1";
RELEASE SAVEPOINT "s1234_x1";
ROLLBACK TO SAVEPOINT sa_savepoint_1;
PREPARE p (int, varchar(10)) AS SELECT * FROM t WHERE a = $1 AND b = $2;
EXECUTE p (1, lower('X'));
DEALLOCATE p;
DEALLOCATE ALL;
DISCARD ALL;
LISTEN channel;
UNLISTEN *;
COPY t (a, b) FROM STDIN;
COPY (SELECT a FROM t) TO STDOUT WITH (FORMAT binary);
SELECT pg_advisory_lock(123);
SELECT pg_try_advisory_lock(123);
SELECT pg_advisory_unlock(123);
SELECT my_function(1);
SELECT uuid_generate_v4();
CREATE TEMP TABLE x (a int) ON COMMIT DROP;
CREATE TEMPORARY TABLE x AS SELECT 1;
SELECT 1 INTO TEMP x;
DO $$ BEGIN PERFORM 1; END $$;
CALL p(1);
DECLARE c CURSOR WITH HOLD FOR SELECT 1;
