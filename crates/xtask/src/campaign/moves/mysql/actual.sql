-- What stands in the new database, a line each, in hexadecimal digits: table, natural key, what it
-- says, its own key, and the row itself.
SET time_zone = '+00:00';
SELECT hex(json_array('teams', CAST(id AS char), json_array(title, CAST(made AS char(19))),
  CAST(id AS char), json_object('id', id, 'title', title, 'made', made))) FROM teams;
SELECT hex(json_array('accounts', mail, json_array(code, name, standing, phone, address,
    CAST(joined AS char(19))), CAST(id AS char), json_object('id', CAST(id AS char), 'code', code,
    'mail', mail, 'name', name, 'standing', standing, 'phone', phone, 'address', address,
    'joined', joined))) FROM accounts;
SELECT hex(json_array('memberships', concat(a.mail, ' ', team_id), json_array(t.standing),
    concat(account_id, ' ', team_id), json_object('account_id', CAST(account_id AS char),
    'team_id', team_id, 'standing', t.standing)))
  FROM memberships t JOIN accounts a ON a.id = account_id;
SELECT hex(json_array('tags', word, json_array(word), CAST(id AS char),
    json_object('id', id, 'word', word))) FROM tags;
SELECT hex(json_array('tasks', t.code, json_array(t.title, t.kind, t.stage, t.due, o.mail, k.mail,
    t.team_id, c.code, CAST(t.made AS char(19)), CAST(t.done AS char(19)), t.team_title, s.word, g.word), t.id, json_object(
    'id', t.id, 'code', t.code, 'title', t.title, 'kind', t.kind, 'stage', t.stage, 'due', t.due,
    'owner_id', CAST(t.owner_id AS char), 'taker_id', CAST(t.taker_id AS char),
    'team_id', t.team_id, 'copy_of_id', t.copy_of_id, 'made', t.made, 'done', t.done,
    'team_title', t.team_title, 'stage_id', t.stage_id, 'tag_id', t.tag_id)))
  FROM tasks t LEFT JOIN accounts o ON o.id = t.owner_id LEFT JOIN accounts k ON k.id = t.taker_id
    LEFT JOIN tasks c ON c.id = t.copy_of_id
    LEFT JOIN stages s ON s.id = t.stage_id LEFT JOIN tags g ON g.id = t.tag_id;
SELECT hex(json_array('signoffs', concat(k.code, ' ', step), json_array(a.mail),
    concat(task_id, ' ', step), json_object('task_id', task_id, 'step', step,
    'account_id', CAST(account_id AS char))))
  FROM signoffs t JOIN tasks k ON k.id = task_id JOIN accounts a ON a.id = account_id;
SELECT hex(json_array('notes', t.code, json_array(k.code, a.mail, body, CAST(t.made AS char(19))),
    CAST(t.id AS char), json_object('id', CAST(t.id AS char), 'code', t.code, 'task_id', task_id,
    'author_id', CAST(author_id AS char), 'body', body, 'made', t.made)))
  FROM notes t JOIN tasks k ON k.id = task_id LEFT JOIN accounts a ON a.id = author_id;
SELECT hex(json_array('events', t.code, json_array(k.code, a.mail, what, was, became,
    CAST(t.made AS char(19))), CAST(t.id AS char), json_object('id', CAST(t.id AS char),
    'code', t.code, 'task_id', task_id, 'actor_id', CAST(actor_id AS char), 'what', what,
    'was', was, 'became', became, 'made', t.made)))
  FROM events t JOIN tasks k ON k.id = task_id LEFT JOIN accounts a ON a.id = actor_id;
SELECT hex(json_array('files', t.code, json_array(k.code, n.code, t.name, t.size,
    replace(t.place, t.task_id, k.code)), CAST(t.id AS char), json_object('id', t.id,
    'code', t.code, 'task_id', t.task_id, 'note_id', CAST(note_id AS char), 'name', t.name,
    'size', t.size, 'place', t.place, 'caption', t.caption)))
  FROM files t JOIN tasks k ON k.id = t.task_id LEFT JOIN notes n ON n.id = note_id;
SELECT hex(json_array('notices', t.code, json_array(a.mail, k.code, n.code, words, seen),
    CAST(t.id AS char), json_object('id', CAST(t.id AS char), 'code', t.code,
    'account_id', CAST(account_id AS char), 'task_id', t.task_id,
    'note_id', CAST(t.note_id AS char), 'words', words, 'seen', seen)))
  FROM notices t JOIN accounts a ON a.id = account_id LEFT JOIN tasks k ON k.id = t.task_id
    LEFT JOIN notes n ON n.id = t.note_id;
