import ControlProtocol
import ExpertPlacement
import Foundation
import GRDB

/// Which steps of a run.
struct IntervalKey: Hashable {
    let incarnation: Int
    let firstStep: Int
}

/// What the reports about the same steps come to, so that nobody has to read a thousand of them for a point of a curve.
struct IntervalTotals {
    private struct Phase {
        var sum = 0.0
        var largest = 0.0

        mutating func add(_ seconds: Double) {
            sum += seconds
            largest = max(largest, seconds)
        }
    }

    /// Of rank 0's report; nil until that comes, and what it says is another's until then.
    private var number: Int?
    private var stepCount = 0
    private var planRevision = 0
    private var receivedAt = Timestamp(milliseconds: 0)
    private var loss: Double?
    private var loadBalance: Double?
    private var droppedShare: Double?
    private var ranks = 0
    /// All reports are between these.
    private var firstNumber = Int.max
    private var lastNumber = 0
    /// Of a step, on the slowest rank.
    private var stepSeconds = 0.0
    private var tokens = 0
    private var bytesSent = 0
    /// Seconds of a step.
    private var phases: [String: Phase] = [:]

    init() {}

    mutating func add(_ report: Report, number: Int, at time: Timestamp, limits: Limits = .standard) {
        let sample = report.sample
        if report.rank == 0 || ranks == 0 {
            stepCount = sample.stepCount
            planRevision = sample.planRevision
            receivedAt = time
        }
        if report.rank == 0 {
            self.number = number
            loss = sample.loss
            loadBalance = sample.expertLoads.flatMap(Self.balance)
            droppedShare = Self.droppedShare(sample)
        }
        ranks += 1
        firstNumber = min(firstNumber, number)
        lastNumber = max(lastNumber, number)
        // Both are within the limit before they are added, and after.
        tokens = min(tokens + sample.tokens, limits.integer)
        bytesSent = min(bytesSent + sample.bytesSent, limits.integer)
        let steps = Double(max(1, sample.stepCount))
        stepSeconds = max(stepSeconds, sample.stepSeconds / steps)
        for (name, seconds) in sample.phaseSeconds {
            if let index = phases.index(forKey: name) {
                phases.values[index].add(seconds / steps)
            } else if phases.count < limits.phases {
                phases[name] = Phase(sum: seconds / steps, largest: seconds / steps)
            }
        }
    }

    /// Mean over the layers that have loads of mean over largest load of an expert.
    private static func balance(_ loads: [[Int]]) -> Double? {
        let balances = loads.compactMap { layer -> Double? in
            guard let largest = layer.max(), largest > 0 else { return nil }
            return layer.reduce(0) { $0 + Double($1) } / Double(layer.count) / Double(largest)
        }
        return balances.isEmpty ? nil : min(1, balances.reduce(0, +) / Double(balances.count))
    }

    /// Of the pairs that chose experts, those that found no place there.
    private static func droppedShare(_ sample: PerformanceSample) -> Double? {
        guard let loads = sample.expertLoads, let layers = sample.droppedTokens else { return nil }
        let dropped = layers.reduce(0) { $0 + Double($1) }
        let all = loads.joined().reduce(dropped) { $0 + Double($1) }
        return all > 0 ? dropped / all : 0
    }
}

/// As rows of `intervals`.
extension IntervalTotals {
    /// What is stored so far.
    init(of interval: IntervalKey, run: Int64?, _ db: Database) throws {
        let row = try Row.fetchOne(
            db.cachedStatement(sql: "SELECT * FROM intervals WHERE run_id = ? AND incarnation = ? AND first_step = ?"),
            arguments: [run, interval.incarnation, interval.firstStep])
        try self.init(row)
    }

    private init(_ row: Row?) throws {
        guard let row else { return }
        number = row["number"]
        stepCount = row["step_count"]
        planRevision = row["plan_revision"]
        receivedAt = Timestamp(milliseconds: row["received_at"])
        loss = row["loss"]
        loadBalance = row["load_balance"]
        droppedShare = row["dropped_share"]
        ranks = row["ranks"]
        firstNumber = row["first_number"]
        lastNumber = row["last_number"]
        stepSeconds = row["step_seconds"]
        tokens = row["tokens"]
        bytesSent = row["bytes_sent"]
        phases = try Self.phases(row["phase_seconds_json"])
    }

    /// - Parameter columns: as many as the table has; the sixth schema's, which is filled when it is made, has one less.
    func write(as interval: IntervalKey, run: Int64?, _ db: Database, columns: Int = 17) throws {
        let marks = repeatElement("?", count: columns).joined(separator: ", ")
        let values: [(any DatabaseValueConvertible)?] = [
            run, interval.incarnation, interval.firstStep, number, stepCount, planRevision, receivedAt.milliseconds,
            loss, loadBalance, ranks, firstNumber, lastNumber, stepSeconds, tokens, bytesSent, try Self.json(phases),
            droppedShare,
        ]
        try CoordinatorStore.execute(
            db, "INSERT OR REPLACE INTO intervals VALUES (\(marks))", StatementArguments(values.prefix(columns)))
    }

    /// - Returns: nil while rank 0's report is missing.
    static func interval(_ row: Row) throws -> Interval? {
        let totals = try IntervalTotals(row)
        guard let number = totals.number else { return nil }
        let ranks = Double(max(1, totals.ranks))
        let phases = totals.phases.mapValues { Interval.Phase(mean: $0.sum / ranks, largest: $0.largest) }
        let experts = phases[PerformanceSample.expertsPhase]
        let seconds = totals.stepSeconds * Double(totals.stepCount)
        return Interval(
            number: number, incarnation: row["incarnation"], firstStep: row["first_step"],
            stepCount: totals.stepCount, planRevision: totals.planRevision, receivedAt: totals.receivedAt,
            loss: totals.loss, stepSeconds: totals.stepSeconds, tokens: totals.tokens,
            tokensPerSecond: finite(Double(totals.tokens) / seconds), bytesSent: totals.bytesSent,
            balance: experts.flatMap { finite($0.mean / $0.largest) }.map { min(1, $0) },
            loadBalance: totals.loadBalance, droppedShare: totals.droppedShare, phases: phases, ranks: totals.ranks)
    }

    private static func finite(_ value: Double) -> Double? {
        value.isFinite ? value : nil
    }

    /// An array of sum and largest for each name. Written and read with each report: Foundation's coders would take longer than
    /// the rest of that.
    private static func json(_ phases: [String: Phase]) throws -> String {
        var text = "{"
        text.reserveCapacity(60 * phases.count)
        for (name, phase) in phases.sorted(by: { $0.key < $1.key }) {
            guard ReportWriter.isPlain(name) else {
                return try CoordinatorStore.json(phases.mapValues { [$0.sum, $0.largest] })
            }
            text += text.utf8.count > 1 ? ",\"" : "\""
            text += "\(name)\":[\(phase.sum),\(phase.largest)]"
        }
        return text + "}"
    }

    private static func phases(_ text: String) throws -> [String: Phase] {
        var json = PlainJSON(text.utf8)
        var phases = [String: Phase](minimumCapacity: 12)
        let isRead = json.object { name, json in
            guard let pair = json.array({ $0.number() }), pair.count == 2 else { return false }
            phases[name] = Phase(sum: pair[0], largest: pair[1])
            return true
        }
        if isRead { return phases }
        return try JSONDecoder().decode([String: [Double]].self, from: Data(text.utf8)).mapValues { pair in
            guard pair.count == 2 else { throw CoordinatorStore.damage("an interval's phases") }
            return Phase(sum: pair[0], largest: pair[1])
        }
    }
}
