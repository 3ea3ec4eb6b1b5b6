-- The old workshop, as far as SQLite has types for it.
PRAGMA journal_mode = WAL;
CREATE TABLE clubs (id integer PRIMARY KEY, title text, made timestamp NOT NULL);
CREATE TABLE people (
  id integer PRIMARY KEY, code text NOT NULL, mail text NOT NULL, first text NOT NULL,
  last text NOT NULL, standing text NOT NULL, phone text NOT NULL, address text,
  joined timestamp NOT NULL
);
CREATE TABLE seats (
  id integer PRIMARY KEY, person integer, club integer, standing text NOT NULL
);
CREATE TABLE jobs (
  id integer PRIMARY KEY, code text NOT NULL, title text, kind text NOT NULL,
  stage text NOT NULL, due date, owner integer, taker integer, club integer,
  first_ok integer, second_ok integer, third_ok integer, copy_of integer,
  made timestamp NOT NULL, done timestamp, label integer
);
CREATE TABLE labels (id integer PRIMARY KEY, word text NOT NULL);
CREATE TABLE entries (
  id integer PRIMARY KEY, code text NOT NULL, person integer, job integer, words text,
  file_name text, file_size integer, made timestamp NOT NULL
);
CREATE TABLE alerts (
  id integer PRIMARY KEY, code text NOT NULL, person integer, about text NOT NULL,
  about_id integer, words text NOT NULL, seen boolean NOT NULL
);
