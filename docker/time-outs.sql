-- How long a statement, a wait for a lock and a transaction at rest may take. Of the
-- role, as PgBouncer hands on no options of a connection; a connection that goes to
-- PostgreSQL itself may say otherwise, as migrations do.
ALTER ROLE mycrm SET statement_timeout = '10s';
ALTER ROLE mycrm SET lock_timeout = '2s';
ALTER ROLE mycrm SET idle_in_transaction_session_timeout = '30s';
