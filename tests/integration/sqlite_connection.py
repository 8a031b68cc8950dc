"""How the Airflow of the tests connects to SQLite: a transaction that may write waits for the lock from its beginning.

A savepoint begins a transaction that reads first. Where another process writes in between, SQLite refuses it the lock at once, however
long it may wait ("database is locked"). Airflow makes a backfill's runs within savepoints, and takes them back if one is refused:
runs that the scheduler may have started, which ends the scheduler.
"""

import sqlite3


class _Cursor(sqlite3.Cursor):
    def execute(self, sql, *parameters):
        if sql.startswith("SAVEPOINT") and not self.connection.in_transaction:
            super().execute("BEGIN IMMEDIATE")
        return super().execute(sql, *parameters)


class _Connection(sqlite3.Connection):
    def cursor(self, factory=_Cursor):
        return super().cursor(factory)


#: For `[database] sql_alchemy_connect_args`.
CONNECT_ARGS = {"factory": _Connection, "timeout": 30}
