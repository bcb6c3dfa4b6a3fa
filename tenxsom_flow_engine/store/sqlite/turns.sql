ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

-- The jobs of each channel that wait in a lane.
CREATE INDEX jobs_line ON jobs (queue, lane, channel, priority, due, position) WHERE due IS NOT NULL;

CREATE INDEX jobs_in_flight_of_channel ON jobs (channel, slot_until) WHERE slot_service IS NOT NULL;

-- The channels with jobs in a lane without a ticket.
CREATE TABLE turns (
    queue         TEXT NOT NULL,
    lane          TEXT NOT NULL,
    channel       TEXT NOT NULL,
    virtual_time  REAL NOT NULL,   -- can be out of date; `virtual_times` is not
    sleeps_until  REAL,            -- none of its jobs is due before this; NULL: one might be due
    PRIMARY KEY (queue, lane, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX turns_next ON turns (queue, lane, virtual_time) WHERE sleeps_until IS NULL;
CREATE INDEX turns_asleep ON turns (queue, lane, sleeps_until) WHERE sleeps_until IS NOT NULL;
CREATE INDEX turns_waking ON turns (queue, sleeps_until) WHERE sleeps_until IS NOT NULL;

-- The virtual times of channels that are ahead of their queue; that of the queue itself has the channel '*'.
CREATE TABLE virtual_times (
    queue         TEXT NOT NULL,
    channel       TEXT NOT NULL,
    virtual_time  REAL NOT NULL,
    PRIMARY KEY (queue, channel)
) STRICT, WITHOUT ROWID;

CREATE TABLE channels (
    name      TEXT PRIMARY KEY,
    settings  TEXT NOT NULL,       -- channels.Channel as JSON; the other columns repeat fields of it
    weight    REAL NOT NULL,
    paused    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO turns SELECT DISTINCT queue, lane, channel, 0, 0 FROM jobs
    WHERE due IS NOT NULL AND substr(lane, 1, 1) <> '#';
