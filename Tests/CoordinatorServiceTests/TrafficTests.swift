import ControlProtocol
import ControlTestSupport
import Foundation
import Testing

/// Real traffic of a client that knows nothing but `docs/protocol.md` and `schemas/`.
struct TrafficTests {
    @Test func requestsAndAnswersFitTheirSchemas() async throws {
        try await LiveCoordinator.run { coordinator in
            let port = coordinator.port
            let types = try await blocking { () -> [String] in
                let client = try PlainClient(port: port)
                let validator = try SchemaValidator()
                return try Self.requests.map { type, fields in
                    let request = client.request(type, fields)
                    #expect(try validator.problems(ofMessage: request) == [])
                    try client.send(PlainClient.frame(request.data))
                    let answer = try client.receive()
                    #expect(try validator.problems(ofMessage: answer) == [])
                    #expect(answer["request_id"] == request["request_id"])
                    return answer["type"]?.text ?? "none"
                }
            }
            #expect(
                types == [
                    "run_registered", "worker_registered", "acknowledged", "acknowledged", "runs", "run", "placement",
                    "placement", "workers", "error", "plan_offer", "intervals", "loads", "timings", "events", "error",
                    "placement_proposed", "placement_proposed",
                    "plan_offer", "error", "acknowledged", "acknowledged", "acknowledged", "planning_state", "plans",
                    "placement", "acknowledged", "run", "run_archived", "runs", "run_deleted", "error",
                ])
        }
    }

    private static let sample: JSONValue = [
        "first_step": 1, "step_count": 10, "plan_revision": 1, "step_seconds": 0.75,
        "phase_seconds": ["experts": 0.5, "dispatch": 0.1], "bytes_sent": 4096, "tokens": 7680,
        "resident_bytes": 1_048_576, "expert_loads": [[5, 7]], "loss": 3.25,
    ]

    private static let proposal: [String: JSONValue] = [
        "run": "demo", "replan": false, "dry_run": false, "who": "ada", "why": "a test",
        "plan": [
            "format": 1, "revision": 0, "world_size": 2, "nodes": [0, 0],
            "layers": [
                [
                    "experts": [
                        ["width": 16, "mesh": ["data_parallel": 1, "tensor_parallel": 1, "ranks": [0]]],
                        ["width": 16, "mesh": ["data_parallel": 1, "tensor_parallel": 1, "ranks": [1]]],
                    ]
                ]
            ],
        ],
    ]

    private static func progress(_ transition: JSONValue, switched: JSONValue = []) -> [String: JSONValue] {
        [
            "run": "demo", "incarnation": 1, "revision": 2, "transition": transition, "step": 11, "switched": switched,
            "bytes": 6144, "seconds": 0.5, "verify_seconds": 0.25,
        ]
    }

    private static let requests: [(String, [String: JSONValue])] = [
        (
            "register_run",
            [
                "run": "demo", "registration": "c0ffee", "world_size": 2, "nodes": [0, 0],
                "model": ["hidden_size": 8, "layers": [[16, 16]]], "allocator": "tensor-parallel", "host": "node-1",
                "process_id": 42, "configuration": ["seed": "7"],
            ]
        ),
        ("register_worker", ["run": "demo", "incarnation": 1, "rank": 0, "host": "node-1", "process_id": 42]),
        ("report", ["run": "demo", "incarnation": 1, "rank": 0, "sequence": 1, "sample": sample]),
        ("report", ["run": "demo", "incarnation": 1, "rank": 0, "sequence": 1, "sample": sample]),
        ("list_runs", [:]), ("show_run", ["run": "demo"]), ("show_placement", [:]),
        ("show_placement", ["run": "demo", "layer": 0, "revision": 1]), ("list_workers", ["run": "demo"]),
        ("show_run", ["run": "nobody"]), ("poll_plan", ["run": "demo", "incarnation": 1, "revision": 1]),
        ("list_intervals", ["run": "demo", "after": 0]), ("list_loads", ["limit": 5]), ("show_timings", [:]),
        ("list_events", ["run": "demo", "after": 0, "limit": 2]), ("show_timings", ["first_step": 2]),
        ("propose_placement", proposal.merging(["dry_run": true]) { $1 }), ("propose_placement", proposal),
        ("poll_plan", ["run": "demo", "incarnation": 1, "revision": 1]), ("propose_placement", proposal),
        ("plan_progress", progress("accepted")),
        ("plan_progress", progress("applying", switched: [["layer": 0, "step": 11]])),
        ("plan_progress", progress("applied", switched: [["layer": 0, "step": 11]])),
        (
            "control_planning",
            [
                "freeze": true, "pin": [["layer": 0, "expert": 1]], "unpin": [], "dry_run": false, "who": "ada",
                "why": "quiet",
            ]
        ), ("list_plans", [:]), ("show_placement", ["revision": 2]),
        ("finish_run", ["run": "demo", "incarnation": 1, "outcome": "completed", "step": 10]), ("show_run", [:]),
        ("archive_run", ["run": "demo", "dry_run": false, "who": "ada", "why": "old"]), ("list_runs", ["all": true]),
        ("delete_run", ["run": "demo", "dry_run": false, "who": "ada", "why": "old"]),
        ("back_up_database", ["file": "monday.db", "dry_run": false]),
    ]

    /// The bytes that the document shows are sent as they stand, and the answers must be those that it shows.
    @Test func theExampleInTheDocumentIsTrue() async throws {
        let document = Repository.root.appending(path: "docs/protocol.md").resolvingSymlinksInPath()
        let blocks = try Self.hexBlocks(in: String(contentsOf: document, encoding: .utf8))
        #expect(blocks.count >= 4)
        #expect(blocks.count.isMultiple(of: 2))
        try await LiveCoordinator.run { coordinator in
            let port = coordinator.port
            try await blocking {
                let client = try PlainClient(port: port)
                for pair in stride(from: 0, to: blocks.count - 1, by: 2) {
                    try client.send(blocks[pair])
                    let answer = try client.receive(blocks[pair + 1].count)
                    #expect(
                        answer == blocks[pair + 1],
                        "\(String(decoding: answer, as: UTF8.self)) to \(String(decoding: blocks[pair], as: UTF8.self))"
                    )
                }
            }
        }
    }

    /// The blocks marked `hexdump` (what `hexdump -C` prints: offset, bytes, characters between bars).
    private static func hexBlocks(in text: String) -> [Data] {
        text.components(separatedBy: "```hexdump\n").dropFirst().map { block in
            var data = Data()
            for line in block.components(separatedBy: "```")[0].split(separator: "\n") {
                let bytes = line.split(separator: "|", maxSplits: 1)[0].split(separator: " ").dropFirst()
                data.append(contentsOf: bytes.compactMap { UInt8($0, radix: 16) })
            }
            return data
        }
    }
}
