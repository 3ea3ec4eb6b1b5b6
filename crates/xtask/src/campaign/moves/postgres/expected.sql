-- What the old rows must become, a line each: table, natural key, what it says. Rows are named by
-- what they say, never by ids. Run in the old database.
SET TIME ZONE 'UTC';
CREATE TEMPORARY VIEW person AS SELECT id, lower(mail) AS mail FROM people;
CREATE TEMPORARY VIEW entry AS
  SELECT e.*, j.code AS job_code, p.mail AS person_mail,
    words ~ '^State went from \w+ to \w+\.$' IS TRUE AS moved,
    words ~ '^Taken by \w+\.$' IS TRUE AS taken,
    coalesce(words, '') <> '' OR file_name IS NOT NULL AS filled
  FROM entries e JOIN jobs j ON j.id = e.job LEFT JOIN person p ON p.id = e.person;
SELECT jsonb_build_array('teams', id::text,
  jsonb_build_array(coalesce(title, 'No name'), made::timestamptz)) FROM clubs;
SELECT DISTINCT ON (lower(mail)) jsonb_build_array('accounts', lower(mail), jsonb_build_array(code,
    btrim(first || ' ' || last), CASE standing WHEN 'New' THEN 'pending' ELSE lower(standing) END,
    CASE WHEN phone <> '' THEN phone END, CASE WHEN address <> '' THEN address::inet END,
    joined::timestamptz))
  FROM people ORDER BY lower(mail), id;
SELECT DISTINCT ON (p.mail, c.id) jsonb_build_array('memberships', p.mail || ' ' || c.id,
    jsonb_build_array(lower(s.standing)))
  FROM seats s JOIN person p ON p.id = s.person JOIN clubs c ON c.id = s.club
  ORDER BY p.mail, c.id, s.id;
SELECT jsonb_build_array('tags', word, jsonb_build_array(word)) FROM labels;
SELECT jsonb_build_array('tasks', j.code, jsonb_build_array(
    CASE WHEN j.title <> '' THEN j.title ELSE 'Untitled @VERSION@' END,
    lower(left(kind, -3)), lower(stage), CASE WHEN isfinite(due) THEN due END, facts -> 'place',
    CASE WHEN facts -> 'starts' ~ '^\d{4}-\d\d-\d\dT' THEN (facts -> 'starts')::timestamptz END,
    hstore_to_jsonb(wants), o.mail, t.mail, c.id,
    (SELECT k.code FROM jobs k WHERE k.id = j.copy_of), j.made::timestamptz, done::timestamptz, c.title,
    CASE j.stage WHEN 'Open' THEN 'open' WHEN 'Done' THEN 'done' END, l.word))
  FROM jobs j LEFT JOIN person o ON o.id = j.owner LEFT JOIN person t ON t.id = j.taker
    LEFT JOIN clubs c ON c.id = j.club LEFT JOIN labels l ON l.id = j.label;
SELECT jsonb_build_array('signoffs', j.code || ' ' || step, jsonb_build_array(p.mail))
  FROM jobs j CROSS JOIN LATERAL (VALUES ('first', first_ok), ('second', second_ok),
    ('third', third_ok)) AS v(step, who) JOIN person p ON p.id = v.who;
SELECT DISTINCT jsonb_build_array('watchers', j.code || ' ' || p.mail, '[]'::jsonb)
  FROM jobs j JOIN person p ON p.id = ANY (j.watchers);
SELECT jsonb_build_array('notes', code, jsonb_build_array(job_code, person_mail,
    coalesce(words, ''), made::timestamptz)) FROM entry WHERE filled AND NOT moved AND NOT taken;
SELECT jsonb_build_array('events', code, jsonb_build_array(job_code, person_mail,
    CASE WHEN moved THEN 'moved' ELSE 'taken' END, CASE WHEN moved THEN split_part(words, ' ', 4) END,
    rtrim(split_part(words, ' ', CASE WHEN moved THEN 6 ELSE 3 END), '.'), made::timestamptz))
  FROM entry WHERE moved OR taken;
SELECT jsonb_build_array('files', code, jsonb_build_array(job_code,
    CASE WHEN NOT moved AND NOT taken THEN code END, file_name, coalesce(file_size, 0),
    'tasks/' || job_code || '/' || id || '-' || translate(file_name, '/', '_')))
  FROM entry WHERE file_name IS NOT NULL;
SELECT jsonb_build_array('notices', a.code, jsonb_build_array(p.mail, j.code, e.code,
    a.words || ' @VERSION@', seen))
  FROM alerts a JOIN person p ON p.id = a.person
    LEFT JOIN jobs j ON about = 'job' AND j.id = about_id
    LEFT JOIN entry e ON about = 'entry' AND e.id = about_id AND filled AND NOT moved AND NOT taken
  WHERE j.id IS NOT NULL OR e.id IS NOT NULL;
