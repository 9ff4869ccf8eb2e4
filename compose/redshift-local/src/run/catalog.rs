//! Redshift's system views that clients ask for, over PostgreSQL's catalog, and the session's
//! settings.

/// Settings of a session.
pub const SESSION: &str =
    "SET TIME ZONE 'UTC'; SET search_path TO \"$user\", public, redshift_catalog";

/// `svv_columns` and `svv_tables` of the schemas that users make; functions of JSON, whose document
/// is a text in Redshift.
pub const VIEWS: &str = "
CREATE SCHEMA IF NOT EXISTS redshift_catalog;
CREATE OR REPLACE VIEW redshift_catalog.svv_columns AS
    SELECT table_catalog::varchar, table_schema::varchar, table_name::varchar, column_name::varchar, ordinal_position::int, column_default::varchar,
        is_nullable::varchar,
        CASE data_type WHEN 'bytea' THEN 'binary varying' WHEN 'jsonb' THEN 'super' ELSE data_type END::varchar AS data_type,
        character_maximum_length::int, numeric_precision::int, numeric_scale::int
    FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'redshift_catalog');
CREATE OR REPLACE VIEW redshift_catalog.svv_tables AS
    SELECT table_catalog::varchar, table_schema::varchar, table_name::varchar, table_type::varchar, NULL::varchar AS remarks
    FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'redshift_catalog');
CREATE OR REPLACE FUNCTION redshift_catalog.json_extract_path_text(document text, VARIADIC path text[]) RETURNS text
    LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.json_extract_path_text(document::json, VARIADIC path)';
CREATE OR REPLACE FUNCTION redshift_catalog.json_extract_array_element_text(document text, place integer) RETURNS text
    LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN place >= 0 THEN document::json ->> place END';
CREATE OR REPLACE FUNCTION redshift_catalog.json_array_length(document text) RETURNS integer
    LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.json_array_length(document::json)';
GRANT USAGE ON SCHEMA redshift_catalog TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA redshift_catalog TO PUBLIC;";
