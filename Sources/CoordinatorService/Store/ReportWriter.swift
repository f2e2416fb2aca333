import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import Foundation
import GRDB

/// Writes consecutive reports of one transaction. What they say of a run and of a worker is written once, at the end.
package struct ReportWriter {
    private struct Run {
        let id: Int64?
        var reportCount = 0
        var reportedAt = Timestamp(milliseconds: 0)
        var step = 0
        var loss: Double?
        var workers: [Worker: Newest] = [:]
        var intervals: [IntervalKey: IntervalTotals] = [:]
    }

    private struct Worker: Hashable {
        let incarnation: Int
        let rank: Int
    }

    /// A worker's report that came last.
    private struct Newest {
        let window: SequenceWindow
        let time: Timestamp
        let step: Int
        let stepSeconds: Double?
        let residentBytes: Int
    }

    private var runs: [String: Run] = [:]

    mutating func add(
        _ report: Report, number: Int, window: SequenceWindow, at time: Timestamp, _ db: Database
    ) throws {
        let sample = report.sample
        var run =
            try runs.removeValue(forKey: report.run)
            ?? Run(
                id: Int64.fetchOne(
                    db.cachedStatement(sql: "SELECT id FROM runs WHERE name = ?"), arguments: [report.run]))
        let lastStep = sample.firstStep + sample.stepCount - 1
        try CoordinatorStore.execute(
            db, "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                run.id, number, report.incarnation, report.rank, report.sequence, time.milliseconds, sample.firstStep,
                sample.stepCount, sample.planRevision, sample.stepSeconds, Self.json(sample.phaseSeconds),
                sample.bytesSent, sample.tokens, sample.residentBytes, sample.loss, sample.expertRows,
                sample.expertWork,
            ])
        if let loads = sample.expertLoads {
            try CoordinatorStore.execute(
                db, "INSERT INTO loads VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    run.id, number, report.incarnation, sample.firstStep, sample.stepCount, sample.planRevision,
                    CoordinatorStore.json(loads), sample.droppedTokens.map(CoordinatorStore.json),
                ])
        }
        let interval = IntervalKey(incarnation: report.incarnation, firstStep: sample.firstStep)
        var totals =
            try run.intervals.removeValue(forKey: interval) ?? IntervalTotals(of: interval, run: run.id, db)
        totals.add(report, number: number, at: time)
        run.intervals[interval] = totals
        run.workers[Worker(incarnation: report.incarnation, rank: report.rank)] = Newest(
            window: window, time: time, step: lastStep,
            stepSeconds: sample.stepCount > 0 ? sample.stepSeconds / Double(sample.stepCount) : nil,
            residentBytes: sample.residentBytes)
        run.reportCount = number
        run.reportedAt = time
        run.step = max(run.step, lastStep)
        run.loss = sample.loss ?? run.loss
        runs[report.run] = run
    }

    /// Before anything else is written.
    mutating func finish(_ db: Database) throws {
        for run in runs.values {
            for (worker, newest) in run.workers { try write(newest, of: worker, run: run.id, db) }
            for (interval, totals) in run.intervals { try totals.write(as: interval, run: run.id, db) }
            try CoordinatorStore.execute(
                db,
                """
                UPDATE runs SET report_count = ?, reported_at = ?, step = max(ifnull(step, 0), ?),
                    loss = ifnull(?, loss)
                WHERE id = ?
                """, [run.reportCount, run.reportedAt.milliseconds, run.step, run.loss, run.id])
        }
        runs = [:]
    }

    private func write(_ newest: Newest, of worker: Worker, run: Int64?, _ db: Database) throws {
        try CoordinatorStore.execute(
            db,
            """
            UPDATE workers SET highest_sequence = ?, applied_sequences = ?, reported_at = ?, step = ?, step_seconds = ?,
                resident_bytes = ?
            WHERE run_id = ? AND incarnation = ? AND rank = ?
            """,
            [
                newest.window.highest, Int64(bitPattern: newest.window.applied), newest.time.milliseconds, newest.step,
                newest.stepSeconds, newest.residentBytes, run, worker.incarnation, worker.rank,
            ])
    }

    /// As `CoordinatorStore.json`, without Foundation's encoder for the names that phases have.
    package static func json(_ phases: [String: Double]) throws -> String {
        var text = "{"
        text.reserveCapacity(40 * phases.count)
        for name in phases.keys.sorted() {
            guard isPlain(name), let seconds = phases[name], seconds.isFinite else {
                return try CoordinatorStore.json(phases)
            }
            text += text.utf8.count > 1 ? ",\"" : "\""
            text += name
            text += "\":"
            let number = seconds.description
            // Whole numbers have no point.
            text += number.hasSuffix(".0") ? number.dropLast(2) : number[...]
        }
        return text + "}"
    }

    static func isPlain(_ name: String) -> Bool {
        name.utf8.allSatisfy {
            0x20...0x7E ~= $0 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "/")
        }
    }
}
