-- What stands in the new database, a line each: table, natural key, what it says, its own key, and
-- the row itself.
SELECT json_array('teams', CAST(id AS text), json_array(title, julianday(made)), CAST(id AS text),
  json_object('id', id, 'title', title, 'made', made)) FROM teams;
SELECT json_array('accounts', mail, json_array(code, name, standing, phone, address,
    julianday(joined)), id, json_object('id', id, 'code', code, 'mail', mail, 'name', name,
    'standing', standing, 'phone', phone, 'address', address, 'joined', joined)) FROM accounts;
SELECT json_array('memberships', a.mail || ' ' || team_id, json_array(t.standing),
    account_id || ' ' || team_id,
    json_object('account_id', account_id, 'team_id', team_id, 'standing', t.standing))
  FROM memberships t JOIN accounts a ON a.id = account_id;
SELECT json_array('tags', word, json_array(word), CAST(id AS text), json_object('id', id, 'word', word))
  FROM tags;
SELECT json_array('tasks', t.code, json_array(title, kind, stage, due, o.mail, k.mail, team_id,
    c.code, julianday(t.made), julianday(t.done), team_title, s.word, g.word), t.id, json_object('id', t.id, 'code', t.code,
    'title', title, 'kind', kind, 'stage', stage, 'due', due, 'owner_id', owner_id, 'taker_id',
    taker_id, 'team_id', team_id, 'copy_of_id', t.copy_of_id, 'made', t.made, 'done', t.done,
    'team_title', team_title, 'stage_id', stage_id, 'tag_id', tag_id))
  FROM tasks t LEFT JOIN accounts o ON o.id = t.owner_id LEFT JOIN accounts k ON k.id = t.taker_id
    LEFT JOIN (SELECT id, code FROM tasks) c ON c.id = t.copy_of_id
    LEFT JOIN stages s ON s.id = t.stage_id LEFT JOIN tags g ON g.id = t.tag_id;
SELECT json_array('signoffs', k.code || ' ' || step, json_array(a.mail), task_id || ' ' || step,
    json_object('task_id', task_id, 'step', step, 'account_id', account_id))
  FROM signoffs t JOIN tasks k ON k.id = task_id JOIN accounts a ON a.id = account_id;
SELECT json_array('notes', t.code, json_array(k.code, a.mail, body, julianday(t.made)), t.id,
    json_object('id', t.id, 'code', t.code, 'task_id', task_id, 'author_id', author_id, 'body',
    body, 'made', t.made))
  FROM notes t JOIN tasks k ON k.id = task_id LEFT JOIN accounts a ON a.id = author_id;
SELECT json_array('events', t.code, json_array(k.code, a.mail, what, was, became,
    julianday(t.made)), t.id, json_object('id', t.id, 'code', t.code, 'task_id', task_id,
    'actor_id', actor_id, 'what', what, 'was', was, 'became', became, 'made', t.made))
  FROM events t JOIN tasks k ON k.id = task_id LEFT JOIN accounts a ON a.id = actor_id;
SELECT json_array('files', t.code, json_array(k.code, n.code, name, size,
    replace(t.place, t.task_id, k.code)), CAST(t.id AS text), json_object('id', t.id, 'code', t.code,
    'task_id', t.task_id, 'note_id', note_id, 'name', name, 'size', size, 'place', t.place,
    'caption', caption))
  FROM files t JOIN tasks k ON k.id = t.task_id LEFT JOIN notes n ON n.id = note_id;
SELECT json_array('notices', t.code, json_array(a.mail, k.code, n.code, words, seen), t.id,
    json_object('id', t.id, 'code', t.code, 'account_id', account_id, 'task_id', t.task_id,
    'note_id', t.note_id, 'words', words, 'seen', seen))
  FROM notices t JOIN accounts a ON a.id = account_id LEFT JOIN tasks k ON k.id = t.task_id
    LEFT JOIN notes n ON n.id = t.note_id;
