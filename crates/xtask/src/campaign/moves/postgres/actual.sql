-- What stands in the new database, a line each: table, natural key, what it says, its own key, and
-- the row itself.
SET TIME ZONE 'UTC';
SELECT jsonb_build_array('teams', id::text, jsonb_build_array(title, made), id::text, to_jsonb(t))
  FROM teams t;
SELECT jsonb_build_array('accounts', mail, jsonb_build_array(code, name, standing, phone, address,
  joined), id::text, to_jsonb(t)) FROM accounts t;
SELECT jsonb_build_array('memberships', a.mail || ' ' || team_id, jsonb_build_array(t.standing),
  account_id || ' ' || team_id, to_jsonb(t)) FROM memberships t JOIN accounts a ON a.id = account_id;
SELECT jsonb_build_array('tags', word, jsonb_build_array(word), id::text, to_jsonb(t)) FROM tags t;
SELECT jsonb_build_array('tasks', t.code, jsonb_build_array(title, kind, stage, due, place, starts,
    wants, o.mail, k.mail, team_id, c.code, t.made, t.done, team_title, s.word, g.word), t.id::text, to_jsonb(t))
  FROM tasks t LEFT JOIN accounts o ON o.id = t.owner_id LEFT JOIN accounts k ON k.id = t.taker_id
    LEFT JOIN (SELECT id, code FROM tasks) c ON c.id = t.copy_of_id
    LEFT JOIN stages s ON s.id = t.stage_id LEFT JOIN tags g ON g.id = t.tag_id;
SELECT jsonb_build_array('signoffs', k.code || ' ' || step, jsonb_build_array(a.mail),
    task_id || ' ' || step, to_jsonb(t))
  FROM signoffs t JOIN tasks k ON k.id = task_id JOIN accounts a ON a.id = account_id;
SELECT jsonb_build_array('watchers', k.code || ' ' || a.mail, '[]'::jsonb,
    task_id || ' ' || account_id, to_jsonb(t))
  FROM watchers t JOIN tasks k ON k.id = task_id JOIN accounts a ON a.id = account_id;
SELECT jsonb_build_array('notes', t.code, jsonb_build_array(k.code, a.mail, body, t.made),
    t.id::text, to_jsonb(t))
  FROM notes t JOIN tasks k ON k.id = task_id LEFT JOIN accounts a ON a.id = author_id;
SELECT jsonb_build_array('events', t.code, jsonb_build_array(k.code, a.mail, what, was, became,
    t.made), t.id::text, to_jsonb(t))
  FROM events t JOIN tasks k ON k.id = task_id LEFT JOIN accounts a ON a.id = actor_id;
SELECT jsonb_build_array('files', t.code, jsonb_build_array(k.code, n.code, name, size,
    replace(t.place, t.task_id::text, k.code)), t.id::text, to_jsonb(t))
  FROM files t JOIN tasks k ON k.id = task_id LEFT JOIN notes n ON n.id = note_id;
SELECT jsonb_build_array('notices', t.code, jsonb_build_array(a.mail, k.code, n.code, words, seen),
    t.id::text, to_jsonb(t))
  FROM notices t JOIN accounts a ON a.id = account_id LEFT JOIN tasks k ON k.id = t.task_id
    LEFT JOIN notes n ON n.id = t.note_id;
