-- MyCRM's own role: it has its database, may make it anew, as a restore does, and reads
-- the numbers that Prometheus wants. It is no superuser.
\set password `cat /run/secrets/database_password`
CREATE ROLE mycrm LOGIN CREATEDB PASSWORD :'password' IN ROLE pg_monitor;
ALTER DATABASE mycrm OWNER TO mycrm;
-- The superuser comes only from within this container, without a password: the one that
-- it got by now is known to MyCRM.
ALTER ROLE postgres PASSWORD NULL;

-- How long a statement, a wait for a lock and a transaction at rest may take. Of the
-- role, as PgBouncer hands on no options of a connection; a connection that goes to
-- PostgreSQL itself may say otherwise, as migrations do.
ALTER ROLE mycrm SET statement_timeout = '10s';
ALTER ROLE mycrm SET lock_timeout = '2s';
ALTER ROLE mycrm SET idle_in_transaction_session_timeout = '30s';
