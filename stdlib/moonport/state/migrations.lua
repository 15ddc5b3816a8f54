--- The schema of the state database, as a list that only ever grows: entry N brings a database of
-- version N-1 to N.
--
-- Plain data (manifests, intents, results, identities) is stored as JSON text. Times are seconds
-- since 1970, as numbers.
--
-- @module moonport.state.migrations
local M = {}

M.list = {
  [[
  CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) WITHOUT ROWID;

  -- phase: applying, undoing, active, retiring, removing, failed (moonport.state.deployments).
  -- pending: the revision that is being applied or undone; revision: the one that serves.
  CREATE TABLE deployments (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    target   TEXT NOT NULL,
    phase    TEXT NOT NULL,
    want     TEXT NOT NULL,
    revision INTEGER,
    pending  INTEGER,
    step     TEXT,
    boot_id  TEXT,
    created  REAL NOT NULL,
    updated  REAL NOT NULL
  ) WITHOUT ROWID;

  -- state: applying, active, retired, failed
  CREATE TABLE revisions (
    deployment TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    state      TEXT NOT NULL,
    digest     TEXT NOT NULL,
    recipe     TEXT NOT NULL,
    files      TEXT NOT NULL,
    manifest   TEXT NOT NULL,
    origins    TEXT NOT NULL,
    inputs     TEXT NOT NULL,
    note       TEXT,
    created    REAL NOT NULL,
    ended      REAL,
    PRIMARY KEY (deployment, number)
  ) WITHOUT ROWID;

  -- state: intent, done, undone, left
  CREATE TABLE journal (
    id         INTEGER PRIMARY KEY,
    deployment TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    revision   INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    step       TEXT NOT NULL,
    scope      TEXT NOT NULL,
    state      TEXT NOT NULL,
    intent     TEXT NOT NULL,
    result     TEXT,
    error      TEXT,
    started    REAL NOT NULL,
    ended      REAL,
    UNIQUE (deployment, revision, step)
  );

  CREATE TABLE resources (
    id         INTEGER PRIMARY KEY,
    deployment TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    revision   INTEGER NOT NULL,
    step       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    identity   TEXT NOT NULL,
    UNIQUE (deployment, revision, step, kind, identity)
  );

  -- What several deployments use; made: 1 when we made it, and so remove it with its last user.
  CREATE TABLE shared (
    kind     TEXT NOT NULL,
    identity TEXT NOT NULL,
    made     INTEGER NOT NULL,
    created  REAL NOT NULL,
    PRIMARY KEY (kind, identity)
  ) WITHOUT ROWID;
  CREATE TABLE shared_users (
    kind       TEXT NOT NULL,
    identity   TEXT NOT NULL,
    deployment TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    revision   INTEGER NOT NULL,
    step       TEXT NOT NULL,
    PRIMARY KEY (kind, identity, deployment, revision, step),
    FOREIGN KEY (kind, identity) REFERENCES shared (kind, identity)
  ) WITHOUT ROWID;

  CREATE TABLE leases (
    pool       TEXT NOT NULL,
    value      TEXT NOT NULL,
    deployment TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    purpose    TEXT NOT NULL,
    boot_id    TEXT NOT NULL,
    created    REAL NOT NULL,
    PRIMARY KEY (pool, value),
    UNIQUE (pool, deployment, purpose)
  ) WITHOUT ROWID;

  -- No foreign key: what happened outlives the deployment.
  CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    at         REAL NOT NULL,
    deployment TEXT NOT NULL,
    name       TEXT NOT NULL,
    type       TEXT NOT NULL,
    data       TEXT NOT NULL
  );
  CREATE INDEX events_by_name ON events (name, id);
  ]],
}

return M
