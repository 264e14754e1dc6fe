-- Rows as version 1 wrote them: one of each kind. Never edited.
INSERT INTO pipelines (id, project, idempotency_key, body) VALUES
    ('pl_0000000000000g000000000000', 'engine', 'key', '{"id":"pl_0000000000000g000000000000","name":"nightly","project":"engine","labels":{"team":"core"},"priority":-3,"submitted_at":"2026-11-21T00:00:07.123456Z","submitted_by":"ann","idempotency":["key","hash"],"builds":2}');
INSERT INTO builds (id, pipeline, project, state, result, attempts, rev, standing, cancel) VALUES
    ('bld_0000000000000g000000000000', 'pl_0000000000000g000000000000', 'engine', 'finished', 'failure', 1, 3, '{"state":"finished","result":"failure","reason":"step compile exited 2","started_at":"2026-11-21T00:00:11.123456Z","at":"2026-11-21T00:00:12.123456Z"}', NULL);
INSERT INTO build_specs (build, spec) VALUES
    ('bld_0000000000000g000000000000', '{"pipeline":"pl_0000000000000g000000000000","name":"test (3.12)","project":"engine","labels":{"team":"core"},"priority":5,"matrix":{"python":"3.12"},"requires":{"python":{"any_of":[{"is":"3.12"},{"all":[["greater_or_equal","3.11"]]}]},"shell":"present","windows":"absent"},"image":"debian","fresh":true,"needs":[],"steps":[{"name":"compile","run":"make all","env":{"python":"3.12"},"timeout":"1m 30s","continue_on_error":true,"always":true}],"env":{"python":"3.12"},"timeout":"1h","max_attempts":3,"log_limit_bytes":1099511627776,"submitted_at":"2026-11-21T00:00:08.123456Z"}');
INSERT INTO attempts (id, build, number, rev, body) VALUES
    ('att_0000000000000g000000000000', 'bld_0000000000000g000000000000', 1, 4, '{"id":"att_0000000000000g000000000000","build":"bld_0000000000000g000000000000","number":1,"machine":"vm_0000000000000g000000000000","bound_at":"2026-11-21T00:00:14.123456Z","state":{"state":"finished","outcome":{"exited":2},"at":"2026-11-21T00:00:14.123456Z"},"steps":[{"index":0,"started_at":"2026-11-21T00:00:15.123456Z","ended_at":"2026-11-21T00:00:16.123456Z","exit_code":2,"log_start":0,"log_end":8}],"cursor":{"machine":60,"stored":8},"rev":4}');
INSERT INTO machines (id, state, image, image_version, rev, body) VALUES
    ('vm_0000000000000g000000000000', 'idle', 'debian', 1, 0, '{"id":"vm_0000000000000g000000000000","image":"debian","image_version":1,"provider":"local","shape":{"name":"small","vcpus":2,"memory_mib":4096,"price_usd_micro_per_hour":41600},"launched_for":"bld_0000000000000g000000000000","state":{"state":"idle","instance":"i-2","endpoint":{"address":"127.0.0.1:2222"}},"since":"2026-11-21T00:00:18.123456Z","created_at":"2026-11-21T00:00:19.123456Z","builds_done":3,"billed_until":"2026-11-21T00:00:20.123456Z","billed":-42,"hold":{"owner":"bob","reason":"look at the failure","until":"2026-11-21T00:00:21.123456Z"},"rev":0}');
INSERT INTO machine_keys (machine, body) VALUES
    ('vm_0000000000000g000000000000', '{"machine":"vm_0000000000000g000000000000","host_private":"","host_public":"host public","client_private":"client private","client_public":"client public"}');
INSERT INTO images (name, version, state, rev, body) VALUES
    ('debian', 1, 'active', 0, '{"name":"debian","version":1,"state":"active","spec":{"description":"Debian 13","provider":"local","reference":{"disk":"debian.qcow2"},"login":{"user":"root"},"shapes":[{"name":"small","vcpus":2,"memory_mib":4096,"price_usd_micro_per_hour":41600}],"capabilities":{"python":{"values":["3.11.9","3.12.4"]},"shell":{"flag":true}},"ready":"true","probes":{"python":"python3 --version"},"boot_timeout":"2m"},"applied_at":"2026-11-21T00:00:22.123456Z","rev":0}');
INSERT INTO policies (name, version, body) VALUES
    ('default', 1, '{"name":"default","version":1,"spec":{"images":["debian"],"max_machines":4,"idle_timeout":"10m","max_lifetime":null,"max_builds_per_machine":1},"applied_at":"2026-11-21T00:00:23.123456Z","rev":0}');
INSERT INTO extents (attempt, start, len, pack, frame_start, frame_len, marks) VALUES
    ('att_0000000000000g000000000000', 0, 8, 'pack_00000000000000000000000000', 17, 5, '[{"offset":0,"at":"2026-11-21T00:00:24.123456Z"}]');
INSERT INTO entries (number, machine, image, build, attempt, pipeline, project, category, begin_at, end_at, time, amount) VALUES
    (1, 'vm_0000000000000g000000000000', 'debian', 'bld_0000000000000g000000000000', 'att_0000000000000g000000000000', 'pl_00000000000000000000000000', 'docs', 'boot', 1795219200123456, 1795219205123456, 5000000, 5);
INSERT INTO entries (number, machine, image, build, attempt, pipeline, project, category, begin_at, end_at, time, amount) VALUES
    (2, 'vm_0000000000000g000000000000', 'debian', 'bld_0000000000000g000000000000', 'att_0000000000000g000000000000', 'pl_00000000000000000000000000', 'docs', 'work', 1795219205123456, 1795219210123456, 5000000, 7);
INSERT INTO hourly_costs (hour, project, image, category, amount, time) VALUES
    (498672, 'docs', 'debian', 'boot', 5, 5000000);
INSERT INTO hourly_costs (hour, project, image, category, amount, time) VALUES
    (498672, 'docs', 'debian', 'work', 7, 5000000);
INSERT INTO events (number, at, kind, subject_kind, subject, message) VALUES
    (1, 1795219201123456, 'build_cancel_asked', 'build', 'bld_0000000000000g000000000000', 'cancel asked');
INSERT INTO events (number, at, kind, subject_kind, subject, message) VALUES
    (2, 1795219202123456, 'machine_note', 'machine', 'vm_00000000000010000000000000', 'found again');
INSERT INTO tokens (id, hash, revoked_at, body) VALUES
    ('tok_0000000000000g000000000000', '0000000000000000000000000000000000000000000000000000000000000001', NULL, '{"id":"tok_0000000000000g000000000000","name":"ci","role":"submitter","hash":"0000000000000000000000000000000000000000000000000000000000000001","created_at":"2026-11-21T00:00:25.123456Z","revoked_at":null}');
