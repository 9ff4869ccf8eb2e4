--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: theatre; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA theatre;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: _theatre_migrations; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre._theatre_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: dead; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre.dead (
    partition integer NOT NULL,
    sequence bigint NOT NULL,
    letter bytea NOT NULL
);
ALTER TABLE ONLY theatre.dead ALTER COLUMN letter SET COMPRESSION lz4;


--
-- Name: fact; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre.fact (
    partition integer NOT NULL,
    revision bigint NOT NULL,
    sequence bigint NOT NULL,
    committed_at bigint NOT NULL,
    event_time bigint NOT NULL,
    kind smallint NOT NULL,
    robot_id text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL COLLATE pg_catalog."C",
    payload bytea NOT NULL
);
ALTER TABLE ONLY theatre.fact ALTER COLUMN payload SET COMPRESSION lz4;


--
-- Name: family; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre.family (
    partition integer NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    save_number bigint NOT NULL,
    positions bytea NOT NULL,
    state bytea NOT NULL
)
WITH (fillfactor='70');
ALTER TABLE ONLY theatre.family ALTER COLUMN state SET COMPRESSION lz4;


--
-- Name: home; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre.home (
    robot text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL
);


--
-- Name: lake_file; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre.lake_file (
    partition integer NOT NULL,
    number bigint NOT NULL,
    stage smallint NOT NULL,
    dataset text NOT NULL COLLATE pg_catalog."C",
    batch text COLLATE pg_catalog."C",
    note text,
    file bytea NOT NULL
)
WITH (fillfactor='70');


--
-- Name: lake_state; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre.lake_state (
    partition integer NOT NULL,
    state bytea NOT NULL
);
ALTER TABLE ONLY theatre.lake_state ALTER COLUMN state SET COMPRESSION lz4;


--
-- Name: layout; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre.layout (
    one smallint NOT NULL,
    topics bytea NOT NULL,
    partitions integer NOT NULL,
    CONSTRAINT layout_one_check CHECK ((one = 1))
);


--
-- Name: partition; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre.partition (
    number integer NOT NULL,
    epoch bigint NOT NULL,
    floor bytea NOT NULL,
    last_fact bigint DEFAULT 0 NOT NULL,
    last_dead bigint DEFAULT 0 NOT NULL,
    relayed_fact bigint DEFAULT 0 NOT NULL,
    relayed_dead bigint DEFAULT 0 NOT NULL,
    exported_fact bigint DEFAULT 0 NOT NULL,
    lake_positions bytea NOT NULL,
    lake_cuts bigint DEFAULT 0 NOT NULL,
    last_file bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='10');


--
-- Name: past_layout; Type: TABLE; Schema: theatre; Owner: -
--

CREATE TABLE theatre.past_layout (
    number integer NOT NULL,
    layout bytea NOT NULL
);


--
-- Data for Name: _theatre_migrations; Type: TABLE DATA; Schema: theatre; Owner: -
--

INSERT INTO theatre._theatre_migrations VALUES (1, 'checkpoint', '2026-11-29 00:09:30.913057+00', true, '\xb5f82f0f03b554191805749a87b39fa541951ac1489ee4ae4fadb4da5bb41cef3c7533f0fbfceabeaecfd6fd60b1bbdb', 40654512);
INSERT INTO theatre._theatre_migrations VALUES (2, 'past_layouts', '2026-11-29 00:09:30.954072+00', true, '\x5b62612999b71d589d83e4c36f2627bd857f20d37fff8375af743e40c3685e13a563d9d0297231ffcf7cf07631d72491', 12839963);


--
-- Data for Name: dead; Type: TABLE DATA; Schema: theatre; Owner: -
--

INSERT INTO theatre.dead VALUES (0, 1, '\x0101040e0207637574206f6666000103030102030103023030');
INSERT INTO theatre.dead VALUES (1, 1, '\x0101090e0207637574206f6666000103030102030103023030');
INSERT INTO theatre.dead VALUES (1, 2, '\x01010a0e0207637574206f6666000103030102030103023030');
INSERT INTO theatre.dead VALUES (0, 2, '\x0101050e0207637574206f6666000103030102030103023030');


--
-- Data for Name: fact; Type: TABLE DATA; Schema: theatre; Owner: -
--

INSERT INTO theatre.fact VALUES (0, 0, 1, 1700000000000000, 1700000000000000, 1, 'r1', '10s/r1/robot_telemetry/0', 'robot_telemetry/10s', '\x010331307380dac40900000a00');
INSERT INTO theatre.fact VALUES (0, 0, 2, 1700000000000000, 1700000000000000, 2, 'r1', 'hot/r1/1', 'hot', '\x000000044d14686f742f72312f31233010686f742f72312f310472310006686f74020000008080f281838985068080f28183898506020000000000e0564002000000000000544002226d6f746f725f74656d7065726174757265020643656c126d6f746f7220686f74');
INSERT INTO theatre.fact VALUES (0, 0, 3, 1700000000000000, 1700000000000000, 1, 'r2', '10s/r2/robot_telemetry/0', 'robot_telemetry/10s', '\x010331307380dac40900000a00');
INSERT INTO theatre.fact VALUES (1, 0, 1, 1700000000000000, 1700000000000000, 2, 'r3', 'hot/r3/1', 'hot', '\x000000044d14686f742f72332f31233010686f742f72332f310472330006686f74020000008080f281838985068080f28183898506020000000000e0564002000000000000544002226d6f746f725f74656d7065726174757265020643656c126d6f746f7220686f74');
INSERT INTO theatre.fact VALUES (1, 0, 2, 1700000000000000, 1700000000000000, 3, 'r3', 'p-7/r3', 'p-7', '\x000000044e06702d370472330002020e75726f6c6f67790000008080f2818389850602000000000020ac400000000000000000020e646f636b696e670000000000404e4000000200000206686f7400a0380002000000000000f03f00');
INSERT INTO theatre.fact VALUES (0, 0, 4, 1700000001000000, 1700000000000000, 3, 'r1', 'p-1/r1', 'p-1', '\x000000044e06702d310472310002020e75726f6c6f67790000008080f2818389850602000000000020ac400000000000000000020e646f636b696e670000000000404e4000000200000206686f7400a0380002000000000000f03f00');
INSERT INTO theatre.fact VALUES (0, 0, 5, 1700000001000000, 1700000000000000, 1, 'r1', '10s/r1/robot_telemetry/10000000', 'robot_telemetry/10s', '\x010331307380dac40980dac409000a00');


--
-- Data for Name: family; Type: TABLE DATA; Schema: theatre; Owner: -
--

INSERT INTO theatre.family VALUES (0, 'r2', 1, '\x01020a01', '\x01010101010101010101010101010101010101010101010101010101010101010101010101010101');
INSERT INTO theatre.family VALUES (1, 'r3', 1, '\x01020a01', '\x01010101010101010101010101010101010101010101010101010101010101010101010101010101');
INSERT INTO theatre.family VALUES (0, 'r1', 2, '\x01021402', '\x02020202020202020202020202020202020202020202020202020202020202020202020202020202');


--
-- Data for Name: home; Type: TABLE DATA; Schema: theatre; Owner: -
--

INSERT INTO theatre.home VALUES ('r1', 0);
INSERT INTO theatre.home VALUES ('r2', 0);
INSERT INTO theatre.home VALUES ('r3', 1);


--
-- Data for Name: lake_file; Type: TABLE DATA; Schema: theatre; Owner: -
--

INSERT INTO theatre.lake_file VALUES (1, 1, 1, 'maintenance_alerts', NULL, NULL, '\x011d6d61696e74656e616e63655f616c657274732f66332e706172717565740975706c6f61642d6633126d61696e74656e616e63655f616c6572747305f4030204');
INSERT INTO theatre.lake_file VALUES (0, 5, 1, 'robot_telemetry', NULL, NULL, '\x011a726f626f745f74656c656d657472792f66362e706172717565740975706c6f61642d66360f726f626f745f74656c656d6574727905f4030204');
INSERT INTO theatre.lake_file VALUES (0, 1, 3, 'robot_windows', 'robot_windows-p0-1-1x1', NULL, '\x0118726f626f745f77696e646f77732f66312e706172717565740975706c6f61642d66310d726f626f745f77696e646f777305f4030204');
INSERT INTO theatre.lake_file VALUES (0, 2, 4, 'maintenance_alerts', NULL, 'bad value', '\x011d6d61696e74656e616e63655f616c657274732f66322e706172717565740975706c6f61642d6632126d61696e74656e616e63655f616c6572747305f4030204');
INSERT INTO theatre.lake_file VALUES (0, 3, 2, 'robot_telemetry', 'robot_telemetry-p0-3-3x1', NULL, '\x011a726f626f745f74656c656d657472792f66342e706172717565740975706c6f61642d66340f726f626f745f74656c656d6574727905f4030204');
INSERT INTO theatre.lake_file VALUES (0, 4, 5, 'robot_telemetry', NULL, 'upload gone', '\x011a726f626f745f74656c656d657472792f66352e706172717565740975706c6f61642d66350f726f626f745f74656c656d6574727905f4030204');


--
-- Data for Name: lake_state; Type: TABLE DATA; Schema: theatre; Owner: -
--

INSERT INTO theatre.lake_state VALUES (0, '\x070707070707070707');


--
-- Data for Name: layout; Type: TABLE DATA; Schema: theatre; Owner: -
--

INSERT INTO theatre.layout VALUES (1, '\x01020974656c656d65747279066576656e7473', 3);


--
-- Data for Name: partition; Type: TABLE DATA; Schema: theatre; Owner: -
--

INSERT INTO theatre.partition VALUES (2, 1, '\x0100', 0, 0, 0, 0, 0, '\x0100', 0, 0);
INSERT INTO theatre.partition VALUES (0, 2, '\x01020c02', 5, 2, 4, 1, 3, '\x01020901', 1, 5);
INSERT INTO theatre.partition VALUES (1, 1, '\x01020500', 2, 2, 2, 0, 1, '\x0100', 0, 1);


--
-- Data for Name: past_layout; Type: TABLE DATA; Schema: theatre; Owner: -
--



--
-- Name: _theatre_migrations _theatre_migrations_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre._theatre_migrations
    ADD CONSTRAINT _theatre_migrations_pkey PRIMARY KEY (version);


--
-- Name: dead dead_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.dead
    ADD CONSTRAINT dead_pkey PRIMARY KEY (partition, sequence);


--
-- Name: fact fact_id; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.fact
    ADD CONSTRAINT fact_id UNIQUE (kind, id, revision);


--
-- Name: fact fact_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.fact
    ADD CONSTRAINT fact_pkey PRIMARY KEY (partition, sequence);


--
-- Name: family family_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.family
    ADD CONSTRAINT family_pkey PRIMARY KEY (partition, name);


--
-- Name: home home_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.home
    ADD CONSTRAINT home_pkey PRIMARY KEY (robot);


--
-- Name: lake_file lake_file_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.lake_file
    ADD CONSTRAINT lake_file_pkey PRIMARY KEY (partition, number);


--
-- Name: lake_state lake_state_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.lake_state
    ADD CONSTRAINT lake_state_pkey PRIMARY KEY (partition);


--
-- Name: layout layout_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.layout
    ADD CONSTRAINT layout_pkey PRIMARY KEY (one);


--
-- Name: partition partition_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.partition
    ADD CONSTRAINT partition_pkey PRIMARY KEY (number);


--
-- Name: past_layout past_layout_pkey; Type: CONSTRAINT; Schema: theatre; Owner: -
--

ALTER TABLE ONLY theatre.past_layout
    ADD CONSTRAINT past_layout_pkey PRIMARY KEY (number);


--
-- Name: fact_robot; Type: INDEX; Schema: theatre; Owner: -
--

CREATE INDEX fact_robot ON theatre.fact USING btree (robot_id, kind, event_time);


--
-- Name: lake_file_stage; Type: INDEX; Schema: theatre; Owner: -
--

CREATE INDEX lake_file_stage ON theatre.lake_file USING btree (partition, stage, number);


--
-- PostgreSQL database dump complete
--


