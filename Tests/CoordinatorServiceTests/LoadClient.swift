import ControlTestSupport
import Foundation
import GRDB

/// Something that a coordinator acknowledged, and so must not lose.
enum AcknowledgedItem: Hashable, Sendable {
    case start(run: String, registration: String, incarnation: Int, revision: Int)
    case worker(run: String, rank: Int)
    case report(run: String, rank: Int, sequence: Int)
    case proposed(run: String, revision: Int)
    /// What the ranks did with a plan, and the states in which it may be from then on.
    case progress(run: String, revision: Int, states: Set<String>)
    /// Freezing or unfreezing, for the `number`th time.
    case control(run: String, number: Int)
    case end(run: String)
}

/// What clients do all day, until the connection ends. All of it is said once, and noted when it is acknowledged.
struct LoadClient {
    struct Refused: Error { let answer: JSONValue }

    private let client: PlainClient
    private let run: String
    private(set) var acknowledged = [AcknowledgedItem]()

    init(port: UInt16, run: String) throws {
        client = try PlainClient(port: port)
        self.run = run
    }

    private func ask(_ type: String, _ fields: [String: JSONValue], run: String? = nil) throws -> JSONValue {
        let answer = try client.ask(type, ["run": .string(run ?? self.run)].merging(fields) { $1 })
        if answer["type"] == "error" { throw Refused(answer: answer) }
        return answer
    }

    mutating func start(_ registration: String, worldSize: Int) throws {
        let answer = try ask("register_run", RecordedSession.registration(registration, worldSize: worldSize))
        guard case .integer(let incarnation)? = answer["incarnation"],
            case .integer(let revision)? = answer["plan"]?["revision"]
        else { throw Refused(answer: answer) }
        acknowledged.append(
            .start(run: run, registration: registration, incarnation: incarnation, revision: revision))
    }

    mutating func register(rank: Int) throws {
        _ = try ask("register_worker", RecordedSession.worker(rank: rank))
        acknowledged.append(.worker(run: run, rank: rank))
    }

    mutating func report(rank: Int, sequence: Int) throws {
        let answer = try ask("report", RecordedSession.report(rank: rank, sequence: sequence))
        guard answer["sequence"] == .integer(sequence) else { throw Refused(answer: answer) }
        acknowledged.append(.report(run: run, rank: rank, sequence: sequence))
    }

    /// A plan from its proposal until it is active.
    mutating func changePlan(shift: Int) throws {
        let answer = try ask("propose_placement", RecordedSession.proposal(shift: shift))
        guard case .integer(let revision)? = answer["revision"] else { throw Refused(answer: answer) }
        acknowledged.append(.proposed(run: run, revision: revision))
        for (transition, states) in [
            ("accepted", ["accepted", "applying", "active", "superseded"]), ("applied", ["active", "superseded"]),
        ] {
            _ = try ask("plan_progress", RecordedSession.progress(transition, revision: revision))
            acknowledged.append(.progress(run: run, revision: revision, states: Set(states)))
        }
    }

    mutating func control(number: Int) throws {
        _ = try ask("control_planning", RecordedSession.control(freeze: number % 2 == 1))
        acknowledged.append(.control(run: run, number: number))
    }

    mutating func finish() throws {
        _ = try ask("finish_run", ["incarnation": 1, "outcome": "completed", "step": 10])
        acknowledged.append(.end(run: run))
    }
}

extension AcknowledgedItem {
    /// What of `items` the database does not hold, and what it holds that it must not.
    static func problems(_ items: [AcknowledgedItem], _ db: Database) throws -> [String] {
        var problems = try items.filter { try !$0.isStored(db) }.map { "lost: \($0)" }
        let twice = """
            SELECT 'report twice' FROM reports GROUP BY run_id, incarnation, rank, sequence HAVING count(*) > 1
            UNION ALL SELECT 'start twice' FROM incarnations GROUP BY run_id, registration HAVING count(*) > 1
            UNION ALL SELECT 'not one active plan' FROM plans GROUP BY run_id HAVING sum(state = 'active') <> 1
            UNION ALL SELECT 'a revision left out' FROM plans GROUP BY run_id HAVING max(revision) <> count(*)
            UNION ALL SELECT 'an incarnation left out' FROM incarnations GROUP BY run_id HAVING max(number) <> count(*)
            UNION ALL SELECT 'reports miscounted' FROM runs
                WHERE report_count <> (SELECT count(*) FROM reports WHERE run_id = runs.id)
            """
        problems += try String.fetchAll(db, sql: twice)
        return problems
    }

    private func isStored(_ db: Database) throws -> Bool {
        func exists(_ sql: String, _ arguments: StatementArguments) throws -> Bool {
            try Int.fetchOne(db.cachedStatement(sql: sql), arguments: arguments) == 1
        }
        switch self {
        case .start(let run, let registration, let incarnation, let revision):
            return try exists(
                """
                SELECT count(*) FROM runs JOIN incarnations i ON i.run_id = id JOIN plans p ON p.run_id = id
                WHERE name = ? AND registration = ? AND number = ? AND revision = ?
                """, [run, registration, incarnation, revision])
        case .worker(let run, let rank):
            return try exists(
                "SELECT count(*) FROM workers JOIN runs ON id = run_id WHERE name = ? AND rank = ?", [run, rank])
        case .report(let run, let rank, let sequence):
            return try exists(
                "SELECT count(*) FROM reports JOIN runs ON id = run_id WHERE name = ? AND rank = ? AND sequence = ?",
                [run, rank, sequence])
        case .proposed(let run, let revision):
            return try exists(
                "SELECT count(*) FROM plans JOIN runs ON id = run_id WHERE name = ? AND revision = ?", [run, revision])
        case .progress(let run, let revision, let states):
            let state = try String.fetchOne(
                db, sql: "SELECT plans.state FROM plans JOIN runs ON id = run_id WHERE name = ? AND revision = ?",
                arguments: [run, revision])
            return state.map(states.contains) ?? false
        case .control(let run, let number):
            let count = try Int.fetchOne(
                db,
                sql: """
                    SELECT count(*) FROM events JOIN runs ON runs.id = run_id
                    WHERE name = ? AND kind IN ('planning_frozen', 'planning_unfrozen')
                    """, arguments: [run])
            return count.map { $0 >= number } ?? false
        case .end(let run):
            return try exists("SELECT count(*) FROM runs WHERE name = ? AND state = 'completed'", [run])
        }
    }
}
