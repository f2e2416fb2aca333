import ControlTestSupport
import Foundation

/// A worker of the run "demo" that reports to a coordinator's process, and remembers what was acknowledged.
struct ReportingClient {
    let client: PlainClient
    let rank: Int
    private(set) var acknowledged = 0

    /// Registers the run, and `ranks` workers.
    static func register(ranks: Int = 1, layers: JSONValue = [[16, 16]], port: UInt16) throws {
        let client = try PlainClient(port: port)
        let answer = try client.ask(
            "register_run",
            [
                "run": "demo", "registration": "one", "world_size": .integer(ranks),
                "nodes": .array([JSONValue](repeating: 0, count: ranks)),
                "model": ["hidden_size": 8, "layers": layers], "allocator": "replicated", "host": "node-1",
                "process_id": 42, "configuration": [:],
            ])
        guard answer["type"] == "run_registered" else { throw Refused(answer: answer) }
        for rank in 0..<ranks {
            _ = try client.ask(
                "register_worker",
                ["run": "demo", "incarnation": 1, "rank": .integer(rank), "host": "node-1", "process_id": 42])
        }
    }

    struct Refused: Error { let answer: JSONValue }

    init(port: UInt16, rank: Int = 0, timeout: Int = 20) throws {
        client = try PlainClient(port: port, timeout: timeout)
        self.rank = rank
    }

    func request(_ sequence: Int) -> JSONValue {
        [
            "type": "report", "version": 1, "request_id": .integer(sequence), "run": "demo", "incarnation": 1,
            "rank": .integer(rank), "sequence": .integer(sequence),
            "sample": [
                "first_step": .integer(sequence), "step_count": 1, "plan_revision": 1, "step_seconds": 0.5,
                "phase_seconds": ["experts": 0.25], "bytes_sent": 1, "tokens": 1, "resident_bytes": 1,
            ],
        ]
    }

    func send(_ sequence: Int) throws {
        try client.send(PlainClient.frame(request(sequence).data))
    }

    /// Sends the next report until it is acknowledged.
    /// - Throws: `Refused`.
    mutating func report() throws {
        try send(acknowledged + 1)
        try receive()
    }

    mutating func receive() throws {
        let answer = try client.receive()
        guard answer["type"] == "acknowledged", case .integer(let sequence)? = answer["sequence"] else {
            throw Refused(answer: answer)
        }
        acknowledged = max(acknowledged, sequence)
    }

    /// Reports of all ranks that the coordinator has.
    static func stored(port: UInt16) throws -> Int? {
        guard case .integer(let count)? = try PlainClient(port: port).ask("show_run")["stored_reports"] else {
            return nil
        }
        return count
    }
}
