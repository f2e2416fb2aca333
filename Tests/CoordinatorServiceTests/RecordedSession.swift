import ControlTestSupport
import Foundation

/// What a job and an operator say from the start of a run to its end, as the bytes of one connection. The bytes of any two runs
/// with names of the same length differ in the name alone.
struct RecordedSession {
    let run: String
    let frames: [Data]

    init(run: String) throws {
        self.run = run
        let envelope: [String: JSONValue] = ["version": 1]
        frames = try Self.requests.enumerated().map { index, request in
            let (type, fields) = request
            let message = envelope.merging(
                ["type": .string(type), "run": .string(run), "request_id": .integer(index + 1)]
            ) { $1 }.merging(fields) { $1 }
            return PlainClient.frame(try JSONValue.object(message).data)
        }
    }

    var bytes: Data { frames.reduce(Data(), +) }

    /// How many frames are whole in the first `count` bytes.
    func wholeFrames(in count: Int) -> Int {
        var (end, whole) = (0, 0)
        for frame in frames {
            end += frame.count
            if end <= count { whole += 1 }
        }
        return whole
    }

    static func report(rank: Int, sequence: Int, incarnation: Int = 1) -> [String: JSONValue] {
        [
            "incarnation": .integer(incarnation), "rank": .integer(rank), "sequence": .integer(sequence),
            "sample": [
                "first_step": .integer(sequence), "step_count": 1, "plan_revision": 1, "step_seconds": 0.5,
                "phase_seconds": [:], "bytes_sent": 1, "tokens": 1, "resident_bytes": 1,
            ],
        ]
    }

    static func registration(_ name: String, worldSize: Int = 2) -> [String: JSONValue] {
        [
            "registration": .string(name), "world_size": .integer(worldSize),
            "nodes": .array([JSONValue](repeating: 0, count: worldSize)),
            "model": ["hidden_size": 8, "layers": [[16, 16]]], "allocator": "tensor-parallel", "host": "n",
            "process_id": 42, "configuration": [:],
        ]
    }

    static func worker(rank: Int, incarnation: Int = 1) -> [String: JSONValue] {
        ["incarnation": .integer(incarnation), "rank": .integer(rank), "host": "n", "process_id": 42]
    }

    /// Expert e of the one layer on rank (e + `shift`) mod 2.
    static func proposal(shift: Int) -> [String: JSONValue] {
        let experts = [0, 1].map { expert -> JSONValue in
            let mesh: JSONValue = [
                "data_parallel": 1, "tensor_parallel": 1, "ranks": .array([.integer((expert + shift) % 2)]),
            ]
            return ["width": 16, "mesh": mesh]
        }
        return [
            "replan": false, "dry_run": false, "who": "ada", "why": "a test",
            "plan": [
                "format": 1, "revision": 0, "world_size": 2, "nodes": [0, 0],
                "layers": [["experts": .array(experts)]],
            ],
        ]
    }

    static func progress(_ transition: String, revision: Int, incarnation: Int = 1) -> [String: JSONValue] {
        let hasSwitched = transition != "accepted"
        return [
            "incarnation": .integer(incarnation), "revision": .integer(revision), "transition": .string(transition),
            "step": 11, "switched": hasSwitched ? [["layer": 0, "step": 11]] : [], "bytes": 6, "seconds": 0.5,
            "verify_seconds": 0.25,
        ]
    }

    static func control(freeze: Bool) -> [String: JSONValue] {
        ["freeze": .bool(freeze), "pin": [], "unpin": [], "dry_run": false, "who": "ada", "why": "quiet"]
    }

    private static let requests: [(String, [String: JSONValue])] = [
        ("register_run", registration("c0ffee")), ("register_worker", worker(rank: 0)),
        ("register_worker", worker(rank: 1)), ("report", report(rank: 0, sequence: 1)),
        ("report", report(rank: 1, sequence: 1)), ("report", report(rank: 1, sequence: 2)),
        ("propose_placement", proposal(shift: 0)), ("poll_plan", ["incarnation": 1, "revision": 1]),
        ("plan_progress", progress("accepted", revision: 2)), ("plan_progress", progress("applied", revision: 2)),
        ("control_planning", control(freeze: true)),
        ("finish_run", ["incarnation": 1, "outcome": "completed", "step": 10]),
    ]
}

extension PlainClient {
    /// The next frame, with its length.
    func receiveFrame() throws -> Data {
        let header = try receive(4)
        return header + (try receive(header.reduce(0) { $0 << 8 | Int($1) }))
    }

    /// What a coordinator tells of a run, without its name: the same for runs with the same history.
    func history(of run: String) throws -> [JSONValue] {
        try ["show_run", "list_plans", "list_workers"].map { type in
            var answer = try ask(type, ["run": .string(run)])
            answer["request_id"] = 0
            let text = String(decoding: try answer.data, as: UTF8.self)
            return try JSONValue(Data(text.replacing(run, with: "RUN").utf8))
        }
    }
}
