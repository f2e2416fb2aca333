import ControlProtocol
import ExpertPlacement
import Foundation
import GRDB

/// What there is of a run's past, step by step. Transactions wait for whoever reads, so that JSON is decoded afterwards.
extension CoordinatorStore {
    /// The sixth schema: what came of reports, kept as long as the run.
    private static let intervals = """
        -- The reports about the same steps, added up.
        CREATE TABLE intervals (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            incarnation INTEGER NOT NULL,
            first_step INTEGER NOT NULL,
            -- Of rank 0's report, as are the next five; NULL until that comes.
            number INTEGER,
            step_count INTEGER NOT NULL,
            plan_revision INTEGER NOT NULL,
            received_at INTEGER NOT NULL,
            loss REAL,
            load_balance REAL,
            -- How many have come, and between which numbers they are.
            ranks INTEGER NOT NULL,
            first_number INTEGER NOT NULL,
            last_number INTEGER NOT NULL,
            -- Of a step, on the slowest rank.
            step_seconds REAL NOT NULL,
            tokens INTEGER NOT NULL,
            bytes_sent INTEGER NOT NULL,
            -- Of a step: sum over ranks, and largest.
            phase_seconds_json TEXT NOT NULL,
            PRIMARY KEY (run_id, incarnation, first_step)
        ) STRICT, WITHOUT ROWID;

        CREATE UNIQUE INDEX intervals_by_number ON intervals (run_id, number) WHERE number IS NOT NULL;

        -- What switches took, without a look at the plans.
        CREATE INDEX plans_by_cost ON plans (run_id, bytes, seconds);
        """

    /// The seventh schema: pairs that found no place at their expert.
    static let droppedTokens = """
        -- By layer; NULL: experts took all.
        ALTER TABLE loads ADD COLUMN dropped_tokens_json TEXT;
        -- Of the pairs of all layers.
        ALTER TABLE intervals ADD COLUMN dropped_share REAL;
        """

    static func makeIntervals(_ db: Database) throws {
        try db.execute(sql: intervals)
        for run in try Int64.fetchAll(db, sql: "SELECT id FROM runs") {
            var totals = [IntervalKey: IntervalTotals]()
            let rows = try Row.fetchCursor(
                db,
                sql: """
                    SELECT reports.*, expert_loads_json FROM reports LEFT JOIN loads USING (run_id, number)
                    WHERE reports.run_id = ? ORDER BY reports.number
                    """, arguments: [run])
            while let row = try rows.next() {
                let report = try StoredReport(row, run: "").report
                let interval = IntervalKey(incarnation: report.incarnation, firstStep: report.sample.firstStep)
                totals[interval, default: IntervalTotals()].add(
                    report, number: row["number"], at: Timestamp(milliseconds: row["received_at"]))
            }
            for (interval, totals) in totals { try totals.write(as: interval, run: run, db, columns: 16) }
        }
    }

    public func intervals(_ request: ListIntervals, limits: Limits) async throws -> Intervals {
        let page = try await page(
            request.run, "SELECT * FROM intervals WHERE run_id = ?1 AND number > ?2 ORDER BY number",
            after: request.after, limit: min(request.limit ?? .max, limits.listedIntervals)
        ) { try IntervalTotals.interval($0) }
        return Intervals(run: page.run, intervals: page.items.compactMap(\.self), truncated: page.isTruncated)
    }

    public func loads(_ request: ListLoads, limits: Limits) async throws -> Loads {
        let page = try await page(
            request.run, "SELECT * FROM loads WHERE run_id = ?1 AND number > ?2 ORDER BY number",
            after: request.after, limit: min(request.limit ?? .max, limits.listedLoads),
            column: "expert_loads_json", bytes: limits.listedLoadBytes
        ) { row in
            let loads = IntervalLoads(
                number: row["number"], incarnation: row["incarnation"], firstStep: row["first_step"],
                stepCount: row["step_count"], planRevision: row["plan_revision"], expertLoads: [])
            return (loads, json: row["expert_loads_json"] as String, dropped: row["dropped_tokens_json"] as String?)
        }
        let loads = try page.items.map { item in
            var loads = item.0
            loads.expertLoads = try Self.expertLoads(item.json)
            loads.droppedTokens = try item.dropped.map { try JSONDecoder().decode([Int].self, from: Data($0.utf8)) }
            return loads
        }
        return Loads(run: page.run, loads: loads, truncated: page.isTruncated)
    }

    public func events(_ request: ListEvents, limits: Limits) async throws -> Events {
        let page = try await page(
            request.run, "SELECT * FROM events WHERE run_id = ?1 AND id > ?2 ORDER BY id", after: request.after,
            limit: min(request.limit ?? .max, limits.pagedEvents)
        ) { NumberedEvent(number: $0["id"], event: try Self.event($0)) }
        return Events(run: page.run, events: page.items, truncated: page.isTruncated)
    }

    public func timings(_ request: ShowTimings) async throws -> Timings {
        let (timings, stored) = try await queue.read { db in
            let id = try Self.runID(request.run, db)
            let run = try Self.runName(id, db)
            guard let interval = try Self.interval(of: id, firstStep: request.firstStep, db) else {
                throw ControlError(
                    .unknownStep,
                    request.firstStep.map { "run \(run) has no reports about the steps from \($0)" }
                        ?? "run \(run) has no reports yet")
            }
            let timings = Timings(
                run: run, incarnation: interval["incarnation"], firstStep: interval["first_step"],
                stepCount: interval["step_count"], planRevision: interval["plan_revision"], phases: [], ranks: [])
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT rank, step_count, step_seconds, phase_seconds_json, bytes_sent, resident_bytes, tokens, expert_work
                    FROM reports WHERE run_id = ? AND number BETWEEN ? AND ? AND incarnation = ? AND first_step = ?
                    """,
                arguments: [
                    id, interval["first_number"] as Int, interval["last_number"] as Int, timings.incarnation,
                    timings.firstStep,
                ])
            return (timings, rows.map(StoredTimings.init))
        }
        guard !stored.isEmpty else {
            throw ControlError(
                .unknownStep,
                "the reports of run \(timings.run) about the steps from \(timings.firstStep) are not kept any more")
        }
        return try Self.complete(timings, stored)
    }

    /// Newest intervals among which one is looked for that all ranks reported.
    private static let candidates = 64

    /// The interval of these steps, in the newest incarnation that did them; without them, the newest that is as full as any.
    private static func interval(of run: Int64, firstStep: Int?, _ db: Database) throws -> Row? {
        let columns = "incarnation, first_step, step_count, plan_revision, first_number, last_number, ranks"
        if let firstStep {
            // No index begins with the step, but incarnations are few, and so are looked at first (sqlite.org/optoverview.html, 8.2).
            return try Row.fetchOne(
                db,
                sql: """
                    SELECT \(columns) FROM incarnations CROSS JOIN intervals
                        ON intervals.run_id = incarnations.run_id AND incarnation = incarnations.number
                    WHERE incarnations.run_id = ? AND first_step = ? ORDER BY incarnation DESC LIMIT 1
                    """, arguments: [run, firstStep])
        }
        return try fullestInterval(of: run, columns: columns, among: candidates, db)
    }

    /// Of the newest intervals of an incarnation the last that most ranks reported.
    static func fullestInterval(of run: Int64, columns: String, among candidates: Int, _ db: Database) throws -> Row? {
        let newest = try Row.fetchAll(
            db, sql: "SELECT \(columns) FROM intervals WHERE run_id = ? AND number > 0 ORDER BY number DESC LIMIT ?",
            arguments: [run, candidates])
        let incarnation: Int? = newest.first?["incarnation"]
        // The first of the largest.
        return newest.prefix { $0["incarnation"] == incarnation }.max { ($0["ranks"] as Int) < $1["ranks"] }
    }

    /// A rank's report before its phases are decoded.
    private struct StoredTimings: Sendable {
        let timings: RankTimings
        let steps: Double
        let phases: String

        init(_ row: Row) {
            phases = row["phase_seconds_json"]
            steps = Double(max(1, row["step_count"] as Int))
            timings = RankTimings(
                rank: row["rank"], stepSeconds: row["step_seconds"] / steps, seconds: [],
                bytesSent: row["bytes_sent"], residentBytes: row["resident_bytes"], tokens: row["tokens"],
                expertWork: row["expert_work"])
        }
    }

    private static func complete(_ timings: Timings, _ stored: [StoredTimings]) throws -> Timings {
        let seconds = try stored.map { try phases($0.phases) }
        var timings = timings
        timings.phases = Set(seconds.flatMap(\.keys)).sorted()
        for (report, seconds) in zip(stored, seconds) {
            var rank = report.timings
            rank.seconds = timings.phases.map { seconds[$0, default: 0] / report.steps }
            timings.ranks.append(rank)
        }
        timings.ranks.sort { $0.rank < $1.rank }
        return timings
    }

    /// A part of what goes with numbers.
    private struct Page<Item: Sendable>: Sendable {
        let run: String
        /// Ascending.
        let items: [Item]
        let isTruncated: Bool
    }

    /// - Parameters:
    ///   - sql: what to read of run `?1` after the number `?2`, ascending by it.
    ///   - after: nil: the newest.
    ///   - column: one whose texts may have `bytes` together, but for the first.
    private func page<Item: Sendable>(
        _ run: String?, _ sql: String, after: Int?, limit: Int, column: String? = nil, bytes: Int = .max,
        _ item: @escaping @Sendable (Row) throws -> Item
    ) async throws -> Page<Item> {
        try await queue.read { db in
            let id = try Self.runID(run, db)
            let rows = try Row.fetchCursor(
                db, sql: sql + (after == nil ? " DESC" : ""), arguments: [id, after ?? 0])
            var items = [Item]()
            var room = bytes
            var isTruncated = false
            while let row = try rows.next() {
                if let column { room -= (row[column] as String).utf8.count }
                isTruncated = items.count == limit || (room < 0 && !items.isEmpty)
                if isTruncated { break }
                items.append(try item(row))
            }
            return Page(
                run: try Self.runName(id, db), items: after == nil ? items.reversed() : items,
                isTruncated: isTruncated && after != nil)
        }
    }

    static func runName(_ id: Int64, _ db: Database) throws -> String {
        guard let name = try String.fetchOne(db, sql: "SELECT name FROM runs WHERE id = ?", arguments: [id]) else {
            throw damage("run \(id)")
        }
        return name
    }

    private static func expertLoads(_ text: String) throws -> [[Int]] {
        var json = PlainJSON(text.utf8)
        return try json.array { json in json.array { $0.integer() } }
            ?? JSONDecoder().decode([[Int]].self, from: Data(text.utf8))
    }

    private static func phases(_ text: String) throws -> [String: Double] {
        var json = PlainJSON(text.utf8)
        var phases = [String: Double](minimumCapacity: 12)
        let isRead = json.object { name, json in
            guard let seconds = json.number() else { return false }
            phases[name] = seconds
            return true
        }
        return isRead ? phases : try JSONDecoder().decode([String: Double].self, from: Data(text.utf8))
    }
}
