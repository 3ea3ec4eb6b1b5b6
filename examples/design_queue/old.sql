-- The old application's database, with a few rows of each kind that makes a move hard. No foreign
-- key anywhere: what refers to what, only the application knew.
--   createdb old_queue && psql -d old_queue -f old.sql
CREATE EXTENSION IF NOT EXISTS hstore;

CREATE TABLE organizations (
    id         serial PRIMARY KEY,
    name       varchar DEFAULT '',
    created_at timestamp,
    updated_at timestamp
);

-- Nothing but capitals may set two accounts' e-mails apart.
CREATE TABLE users (
    id                 serial PRIMARY KEY,
    email              varchar NOT NULL DEFAULT '',
    encrypted_password varchar NOT NULL DEFAULT '',
    first_name         varchar DEFAULT '',
    last_name          varchar DEFAULT '',
    role               varchar DEFAULT 'Unapproved',
    phone              varchar DEFAULT '',
    flavor             varchar DEFAULT '',
    description        text,
    send_emails        boolean NOT NULL DEFAULT true,
    current_sign_in_ip varchar,
    created_at         timestamp,
    updated_at         timestamp
);

-- Who belongs to which organization.
CREATE TABLE assignments (
    id              serial PRIMARY KEY,
    organization_id integer,
    user_id         integer,
    role            varchar DEFAULT 'Member',
    created_at      timestamp,
    updated_at      timestamp
);

CREATE TABLE orders (
    id                  serial PRIMARY KEY,
    type                varchar,
    status              varchar DEFAULT 'Unapproved',
    name                varchar DEFAULT '',
    description         text DEFAULT '',
    due                 date,                            -- infinity: whenever
    progress            varchar NOT NULL DEFAULT '',
    event               hstore NOT NULL DEFAULT '',      -- name, location, starts_at
    needs               hstore NOT NULL DEFAULT '',      -- whatever the form asked for that year
    organization_id     integer,
    owner_id            integer,
    creative_id         integer,
    subscriptions       integer[] NOT NULL DEFAULT '{}', -- of users
    student_approval_id integer,
    advisor_approval_id integer,
    final_one_id        integer,
    final_two_id        integer,
    duplicate_of_id     integer,                         -- of any other order, even of its own duplicate
    completed_at        timestamp,
    created_at          timestamp,
    updated_at          timestamp
);

-- What people say, and what the application noted in their name.
CREATE TABLE comments (
    id                      serial PRIMARY KEY,
    order_id                integer,
    user_id                 integer,
    message                 text DEFAULT '',
    attachment_file_name    varchar,
    attachment_content_type varchar,
    attachment_file_size    integer,
    attachment_updated_at   timestamp,
    created_at              timestamp,
    updated_at              timestamp
);

CREATE TABLE notifications (
    id           serial PRIMARY KEY,
    user_id      integer,
    notable_type varchar NOT NULL DEFAULT '',            -- of what notable_id is the id
    notable_id   integer,
    title        varchar NOT NULL DEFAULT '',
    message      text NOT NULL DEFAULT '',
    read         boolean NOT NULL DEFAULT false,
    created_at   timestamp,
    updated_at   timestamp
);

INSERT INTO organizations (id, name, created_at, updated_at) VALUES
  (1, 'Chess Club', '2014-05-01 09:00', '2020-01-01 09:00'),
  (2, 'Film Society', '2014-05-02 09:00', '2020-01-02 09:00');

INSERT INTO users (id, first_name, last_name, role, phone, email, send_emails, description, current_sign_in_ip, created_at, updated_at) VALUES
  (1, 'Ada', 'Lovelace', 'Admin', '555-0001', 'ada@example.edu', true, 'Runs the queue', '10.0.0.1', '2014-05-01 10:00', '2020-01-01 10:00'),
  (2, 'Alan', 'Turing', 'Creative', '', 'alan@example.edu', true, NULL, '', '2014-05-02 10:00', '2020-01-02 10:00'),
  (3, 'Ada', 'L.', 'Basic', '', 'ADA@example.edu', false, NULL, NULL, '2015-02-01 10:00', '2020-01-03 10:00'),   -- Ada again
  (4, 'Grace', '', 'Unapproved', '', 'grace@example.edu', true, NULL, '10.0.0.4', '2015-03-01 10:00', '2020-01-04 10:00');

INSERT INTO assignments (id, user_id, organization_id, role, created_at, updated_at) VALUES
  (1, 1, 1, 'Director', '2014-05-03', '2020-01-01'),
  (2, 3, 1, 'Member', '2015-02-02', '2020-01-01'),      -- Ada's second account is in the club too
  (3, 2, 2, 'Member', '2014-05-03', '2020-01-01'),
  (4, 77, 2, 'Member', '2014-05-03', '2020-01-01');     -- of a user that was deleted long ago

INSERT INTO orders (id, name, due, description, event, needs, status, owner_id, organization_id, creative_id, type, subscriptions, progress, student_approval_id, final_one_id, duplicate_of_id, completed_at, created_at, updated_at) VALUES
  (1, 'Spring tournament', '2016-04-01', 'A poster, please.', 'name => Tournament, starts_at => "2016-04-09T18:00:00Z"', 'size => 11x17, copies => 40', 'Complete', 1, 1, 2, 'GraphicOrder', '{1,3,4}', 'printed', 4, 1, NULL, '2016-03-20', '2016-02-01', '2020-01-01'),
  (2, 'Film night', 'infinity', 'A page.', 'name => "Film night", starts_at => TBD', 'size => web', 'Claimed', 2, 2, 2, 'WebOrder', '{2}', '', NULL, NULL, 3, NULL, '2016-02-02', '2020-01-02'),
  (3, '', NULL, 'Was sent twice.', '', '', 'Cancelled', 77, NULL, NULL, 'WebOrder', '{77}', '', NULL, NULL, 2, NULL, '2016-02-03', '2020-01-03'),
  (4, 'Trailer', '2016-06-01', 'Thirty seconds.', '', 'size => 1080p', 'Unclaimed', 4, 2, NULL, 'VideoOrder', '{}', '', NULL, NULL, NULL, NULL, '2016-02-04', '2020-01-04');

INSERT INTO comments (id, user_id, order_id, message, attachment_file_name, attachment_content_type, attachment_file_size, attachment_updated_at, created_at, updated_at) VALUES
  (1, 1, 1, 'Could the board be bigger?', NULL, NULL, NULL, NULL, '2016-02-05', '2020-01-01'),
  (2, 2, 1, 'Claimed by Alan.', NULL, NULL, NULL, NULL, '2016-02-06', '2020-01-01'),
  (3, 2, 1, 'Status changed from Claimed to Complete.', 'final/poster.pdf', 'application/pdf', 120400, '2016-03-20', '2016-03-20', '2020-01-01'),
  (4, 4, 1, '', 'board.png', 'image/png', 40200, '2016-02-07', '2016-02-07', '2020-01-01'),
  (5, 4, 1, '', NULL, NULL, NULL, NULL, '2016-02-08', '2020-01-01'),                     -- nothing at all
  (6, 77, 2, 'Looks good.', NULL, NULL, NULL, NULL, '2016-02-09', '2020-01-01'),          -- by nobody any more
  (7, 1, 99, 'About an order that is gone.', NULL, NULL, NULL, NULL, '2016-02-10', '2020-01-01'),
  (8, 3, 2, E'Approved as advisor.\nThanks!', NULL, NULL, NULL, NULL, '2016-02-11', '2020-01-01');   -- a person's words

INSERT INTO notifications (id, title, message, read, user_id, notable_type, notable_id, created_at, updated_at) VALUES
  (1, 'New request', 'Spring tournament', true, 2, 'Order', 1, '2016-02-01', '2020-01-01'),
  (2, 'New comment', 'Could the board be bigger?', false, 2, 'Comment', 1, '2016-02-05', '2020-01-01'),
  (3, 'Claimed', 'By Alan', false, 1, 'Comment', 2, '2016-02-06', '2020-01-01'),          -- of no comment there
  (4, 'Welcome', 'Hello, Grace', false, 4, 'User', 4, '2015-03-01', '2020-01-01');
