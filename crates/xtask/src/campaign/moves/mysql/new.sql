-- The new workshop.
ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE TABLE teams (
  id integer AUTO_INCREMENT PRIMARY KEY, title text NOT NULL, made datetime(6) NOT NULL
);
CREATE TABLE accounts (
  id uuid PRIMARY KEY, code varchar(20) NOT NULL, mail varchar(80) NOT NULL UNIQUE,
  name varchar(200) NOT NULL,
  standing varchar(20) NOT NULL CHECK (standing IN ('pending', 'member', 'chief')),
  phone varchar(40), address varchar(40), joined timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE memberships (
  account_id uuid NOT NULL, team_id integer NOT NULL, standing varchar(20) NOT NULL,
  PRIMARY KEY (account_id, team_id),
  FOREIGN KEY (account_id) REFERENCES accounts (id), FOREIGN KEY (team_id) REFERENCES teams (id)
);
-- These are there before the move begins: the first are nobody's to change, the others are adopted.
CREATE TABLE stages (id integer PRIMARY KEY, word varchar(20) NOT NULL UNIQUE);
INSERT INTO stages VALUES (11, 'open'), (12, 'done');
CREATE TABLE tags (id integer AUTO_INCREMENT PRIMARY KEY, word varchar(20) NOT NULL UNIQUE);
INSERT INTO tags VALUES (501, 'w1'), (502, 'w2'), (503, 'w3');
CREATE TABLE tasks (
  id char(36) CHARACTER SET ascii PRIMARY KEY, code varchar(20) NOT NULL,
  title varchar(200) NOT NULL CHECK (title <> ''),
  kind enum('print', 'film', 'site') NOT NULL, stage varchar(20) NOT NULL, due date,
  owner_id uuid, taker_id uuid, team_id integer, copy_of_id char(36) CHARACTER SET ascii,
  made timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, done datetime,
  team_title text, stage_id integer, tag_id integer,
  FOREIGN KEY (stage_id) REFERENCES stages (id), FOREIGN KEY (tag_id) REFERENCES tags (id),
  FOREIGN KEY (owner_id) REFERENCES accounts (id), FOREIGN KEY (taker_id) REFERENCES accounts (id),
  FOREIGN KEY (team_id) REFERENCES teams (id), FOREIGN KEY (copy_of_id) REFERENCES tasks (id)
);
CREATE TABLE signoffs (
  task_id char(36) CHARACTER SET ascii NOT NULL, step enum('first', 'second', 'third') NOT NULL,
  account_id uuid NOT NULL, PRIMARY KEY (task_id, step),
  FOREIGN KEY (task_id) REFERENCES tasks (id), FOREIGN KEY (account_id) REFERENCES accounts (id)
);
CREATE TABLE notes (
  id uuid PRIMARY KEY, code varchar(20) NOT NULL, task_id char(36) CHARACTER SET ascii NOT NULL,
  author_id uuid, body text NOT NULL, made datetime(3) NOT NULL,
  FOREIGN KEY (task_id) REFERENCES tasks (id), FOREIGN KEY (author_id) REFERENCES accounts (id)
);
CREATE TABLE events (
  id uuid PRIMARY KEY, code varchar(20) NOT NULL, task_id char(36) CHARACTER SET ascii NOT NULL,
  actor_id uuid, what varchar(20) NOT NULL CHECK (what IN ('moved', 'taken')),
  was varchar(80), became varchar(80), made datetime NOT NULL,
  FOREIGN KEY (task_id) REFERENCES tasks (id), FOREIGN KEY (actor_id) REFERENCES accounts (id)
);
CREATE TABLE files (
  id bigint AUTO_INCREMENT PRIMARY KEY, code varchar(20) NOT NULL,
  task_id char(36) CHARACTER SET ascii NOT NULL, note_id uuid, name text NOT NULL,
  size bigint NOT NULL, place varchar(250) NOT NULL UNIQUE, caption text,
  FOREIGN KEY (task_id) REFERENCES tasks (id), FOREIGN KEY (note_id) REFERENCES notes (id)
);
CREATE TABLE notices (
  id uuid PRIMARY KEY, code varchar(20) NOT NULL, account_id uuid NOT NULL,
  task_id char(36) CHARACTER SET ascii, note_id uuid, words text NOT NULL, seen boolean NOT NULL,
  CHECK ((task_id IS NULL) <> (note_id IS NULL)),
  FOREIGN KEY (account_id) REFERENCES accounts (id), FOREIGN KEY (task_id) REFERENCES tasks (id),
  FOREIGN KEY (note_id) REFERENCES notes (id)
);
