-- The new workshop.
PRAGMA journal_mode = WAL;
CREATE TABLE teams (
  id integer PRIMARY KEY AUTOINCREMENT, title text NOT NULL, made timestamp NOT NULL
);
CREATE TABLE accounts (
  id text PRIMARY KEY NOT NULL, code text NOT NULL, mail text NOT NULL, name text NOT NULL,
  standing text NOT NULL CHECK (standing IN ('pending', 'member', 'chief')),
  phone text, address text, joined timestamp NOT NULL
);
CREATE UNIQUE INDEX accounts_mail ON accounts (lower(mail));
CREATE TABLE memberships (
  account_id text NOT NULL REFERENCES accounts, team_id integer NOT NULL REFERENCES teams,
  standing text NOT NULL, PRIMARY KEY (account_id, team_id)
);
-- These are there before the move begins: the first are nobody's to change, the others are adopted.
CREATE TABLE stages (id integer PRIMARY KEY, word text NOT NULL UNIQUE);
INSERT INTO stages VALUES (11, 'open'), (12, 'done');
CREATE TABLE tags (id integer PRIMARY KEY AUTOINCREMENT, word text NOT NULL UNIQUE);
INSERT INTO tags VALUES (501, 'w1'), (502, 'w2'), (503, 'w3');
CREATE TABLE tasks (
  id text PRIMARY KEY NOT NULL, code text NOT NULL, title text NOT NULL CHECK (title <> ''),
  kind text NOT NULL, stage text NOT NULL, due date,
  owner_id text REFERENCES accounts, taker_id text REFERENCES accounts,
  team_id integer REFERENCES teams, copy_of_id text REFERENCES tasks,
  made timestamp NOT NULL, done timestamp,
  team_title text, stage_id integer REFERENCES stages, tag_id integer REFERENCES tags
);
CREATE TABLE signoffs (
  task_id text NOT NULL REFERENCES tasks, step text NOT NULL,
  account_id text NOT NULL REFERENCES accounts, PRIMARY KEY (task_id, step)
);
CREATE TABLE notes (
  id text PRIMARY KEY NOT NULL, code text NOT NULL, task_id text NOT NULL REFERENCES tasks,
  author_id text REFERENCES accounts, body text NOT NULL, made timestamp NOT NULL
);
CREATE TABLE events (
  id text PRIMARY KEY NOT NULL, code text NOT NULL, task_id text NOT NULL REFERENCES tasks,
  actor_id text REFERENCES accounts, what text NOT NULL CHECK (what IN ('moved', 'taken')),
  was text, became text, made timestamp NOT NULL
);
CREATE TABLE files (
  id integer PRIMARY KEY AUTOINCREMENT, code text NOT NULL,
  task_id text NOT NULL REFERENCES tasks, note_id text REFERENCES notes, name text NOT NULL,
  size integer NOT NULL, place text NOT NULL UNIQUE, caption text
);
CREATE TABLE notices (
  id text PRIMARY KEY NOT NULL, code text NOT NULL, account_id text NOT NULL REFERENCES accounts,
  task_id text REFERENCES tasks, note_id text REFERENCES notes, words text NOT NULL,
  seen boolean NOT NULL, CHECK ((task_id IS NULL) <> (note_id IS NULL))
);
