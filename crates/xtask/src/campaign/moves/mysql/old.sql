-- The old workshop, as far as MariaDB has types for it. It has no foreign keys.
ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE TABLE clubs (id integer PRIMARY KEY, title text, made datetime NOT NULL);
CREATE TABLE people (
  id integer PRIMARY KEY, code varchar(20) NOT NULL, mail varchar(80) NOT NULL,
  first varchar(80) NOT NULL, last varchar(80) NOT NULL, standing varchar(20) NOT NULL,
  phone varchar(40) NOT NULL, address text, joined datetime NOT NULL
);
CREATE TABLE seats (
  id integer PRIMARY KEY, person integer, club integer, standing varchar(20) NOT NULL
);
CREATE TABLE jobs (
  id integer PRIMARY KEY, code varchar(20) NOT NULL, title text, kind varchar(20) NOT NULL,
  stage varchar(20) NOT NULL, due date, owner integer, taker integer, club integer,
  first_ok integer, second_ok integer, third_ok integer, copy_of integer,
  made datetime NOT NULL, done datetime, label integer
);
CREATE TABLE labels (id integer PRIMARY KEY, word varchar(20) NOT NULL);
CREATE TABLE entries (
  id integer PRIMARY KEY, code varchar(20) NOT NULL, person integer, job integer, words text,
  file_name text, file_size integer, made datetime NOT NULL
);
CREATE TABLE alerts (
  id integer PRIMARY KEY, code varchar(20) NOT NULL, person integer, about varchar(20) NOT NULL,
  about_id integer, words text NOT NULL, seen boolean NOT NULL
);
