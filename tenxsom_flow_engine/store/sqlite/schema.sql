-- `record` is the complete record; the other columns repeat fields for queries and indexes (derived by rows.py).
CREATE TABLE jobs (
    position      INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of adding
    job_id        TEXT NOT NULL UNIQUE,
    queue         TEXT NOT NULL,
    lane          TEXT NOT NULL,
    status        TEXT NOT NULL,
    service       TEXT NOT NULL,
    channel       TEXT NOT NULL,
    topic         TEXT NOT NULL,
    due           REAL,
    lease_until   REAL,
    slot_service  TEXT,   -- the service whose in-flight slot the job has, until slot_until
    slot_until    REAL,
    added_at      REAL NOT NULL,
    finished_at   REAL,
    record        BLOB NOT NULL
) STRICT;

CREATE INDEX jobs_due ON jobs (queue, lane, due, position) WHERE due IS NOT NULL;
CREATE INDEX jobs_oldest_due ON jobs (queue, due) WHERE due IS NOT NULL;
CREATE INDEX jobs_scheduled ON jobs (queue, due) WHERE status = 'scheduled';
CREATE INDEX jobs_leased ON jobs (queue, lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX jobs_in_flight ON jobs (slot_service, slot_until) WHERE slot_service IS NOT NULL;
CREATE INDEX jobs_status ON jobs (status, position);
CREATE INDEX jobs_channel ON jobs (channel, position) WHERE channel <> '';
-- Files of this schema version can lack what has IF NOT EXISTS, so every start creates it if needed.
CREATE INDEX IF NOT EXISTS jobs_service ON jobs (service, position) WHERE service <> 'auto';
CREATE INDEX IF NOT EXISTS jobs_added ON jobs (added_at);
CREATE INDEX jobs_trimmable ON jobs (finished_at) WHERE status IN ('succeeded', 'cancelled');

-- The latest starts of jobs that have one and bought nothing yet.
CREATE TABLE IF NOT EXISTS starts (
    job_id    TEXT PRIMARY KEY,
    start_by  REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS starts_first ON starts (start_by);

-- Counters, so that no query has to scan the jobs.
CREATE TABLE counts (
    queue   TEXT NOT NULL,
    status  TEXT NOT NULL,
    jobs    INTEGER NOT NULL,
    PRIMARY KEY (queue, status)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER jobs_added AFTER INSERT ON jobs BEGIN
    INSERT INTO counts VALUES (NEW.queue, NEW.status, 1)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER jobs_removed AFTER DELETE ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE queue = OLD.queue AND status = OLD.status;
END;

CREATE TRIGGER jobs_changed AFTER UPDATE OF queue, status ON jobs
WHEN (OLD.queue, OLD.status) IS NOT (NEW.queue, NEW.status) BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE queue = OLD.queue AND status = OLD.status;
    INSERT INTO counts VALUES (NEW.queue, NEW.status, 1)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;

-- Ids of trimmed jobs, so that adding one again adds nothing.
CREATE TABLE finished_ids (
    job_id  TEXT PRIMARY KEY,
    until   REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX finished_ids_until ON finished_ids (until);

-- Totals of purchases and of finished jobs, which outlive the records (see store/totals.py).
CREATE TABLE sums (
    kind     TEXT NOT NULL,
    period   TEXT NOT NULL,
    service  TEXT NOT NULL,
    name     TEXT NOT NULL,
    amount   REAL NOT NULL,
    PRIMARY KEY (kind, period, service, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE last_errors (
    service  TEXT PRIMARY KEY,
    at       REAL NOT NULL,
    job_id   TEXT NOT NULL,
    code     TEXT NOT NULL,
    message  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE queues (
    name                       TEXT PRIMARY KEY,
    paused                     INTEGER NOT NULL DEFAULT 0,
    max_dispatches_per_second  REAL,     -- NULL: the environment's value
    max_concurrent_dispatches  INTEGER,
    tokens                     REAL NOT NULL DEFAULT 0,   -- in the bucket of the dispatch rate
    refilled_at                REAL NOT NULL DEFAULT 0
) STRICT;

-- Named locks: tasks that one process at a time does.
CREATE TABLE holds (
    name   TEXT PRIMARY KEY,
    owner  TEXT NOT NULL,
    until  REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Short texts until an instant: API keys, shown plans, answers to requests that can be repeated.
CREATE TABLE IF NOT EXISTS memos (
    kind   TEXT NOT NULL,
    name   TEXT NOT NULL,
    text   TEXT NOT NULL,
    until  REAL NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS memos_until ON memos (until);

CREATE TABLE workers (
    id           TEXT PRIMARY KEY,
    queue        TEXT NOT NULL,
    host         TEXT NOT NULL,
    pid          INTEGER NOT NULL,
    concurrency  INTEGER NOT NULL,
    started_at   REAL NOT NULL,
    seen_at      REAL NOT NULL,
    steps        INTEGER NOT NULL
) STRICT;

-- Schedules, and their lists of topics by `Schedule.key` (see channels/schedules.py), both as JSON.
CREATE TABLE IF NOT EXISTS schedules (
    name    TEXT PRIMARY KEY,
    record  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS schedule_topics (
    list   TEXT NOT NULL,
    place  INTEGER NOT NULL,
    topic  TEXT NOT NULL,
    PRIMARY KEY (list, place)
) STRICT, WITHOUT ROWID;

-- The latest instant that the store has returned, so that its time never goes back.
CREATE TABLE clock (last REAL NOT NULL) STRICT;
INSERT INTO clock VALUES (0);

-- Who gets messages about events (see events/endpoints.py): the endpoint and how it answers, as JSON.
CREATE TABLE IF NOT EXISTS endpoints (
    id      TEXT PRIMARY KEY,
    record  TEXT NOT NULL,
    health  TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- A message for each event and endpoint. `next_at`: when it is sent next, NULL unless it is pending.
CREATE TABLE IF NOT EXISTS outbox (
    endpoint  TEXT NOT NULL,
    event     TEXT NOT NULL,
    type      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    at        REAL NOT NULL,
    body      TEXT NOT NULL,
    state     TEXT NOT NULL,
    tries     INTEGER NOT NULL,
    next_at   REAL,
    UNIQUE (endpoint, event)
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (endpoint, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS outbox_at ON outbox (endpoint, at);
