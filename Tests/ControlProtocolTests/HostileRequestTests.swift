import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import TestSupport
import Testing

/// Nothing that a peer sends may end the process, and what is accepted is in range.
struct HostileRequestTests {
    @Test(arguments: [
        "", "{", "[]", "null", "true", "1", "\"x\"", "{}", "{\"type\":1}", "\u{0}", "{\"request_id\":1}",
        "{\"type\":\"list_runs\",\"version\":1}", "{\"type\":\"list_runs\",\"version\":1,\"request_id\":-1}",
        "{\"type\":\"list_runs\",\"version\":1,\"request_id\":1e300}",
        "{\"type\":\"list_runs\",\"version\":1,\"request_id\":99999999999999999999}",
        "{\"type\":\"list_runs\",\"version\":2,\"request_id\":1}",
        "{\"type\":\"list_runs\",\"version\":\"1\",\"request_id\":1}",
        "{\"type\":\"error\",\"version\":1,\"request_id\":1,\"code\":\"x\",\"message\":\"y\"}",
        String(repeating: "[", count: 100_000), String(repeating: "{\"a\":", count: 100_000),
        "{\"type\":\"list_runs\",\"version\":1,\"request_id\":1,\"x\":" + String(repeating: "[", count: 50_000)
            + String(repeating: "]", count: 50_000) + "}",
    ])
    func malformedPayloadsAreRefused(text: String) {
        #expect(throws: ControlError.self) { try MessageCodec.request(Data(text.utf8)).request.get() }
    }

    @Test func bytesThatAreNoTextAreRefused() {
        for byte in UInt8.min...UInt8.max where byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") {
            let payload =
                Data("{\"type\":\"show_run\",\"version\":1,\"request_id\":1,\"run\":\"a".utf8) + [byte]
                + Data("\"}".utf8)
            let isPlain = RunName.isValid("a" + String(decoding: [byte], as: UTF8.self))
            let isAccepted = (try? MessageCodec.request(payload).request.get()) != nil
            #expect(isAccepted == isPlain, "byte \(byte)")
        }
    }

    @Test(
        arguments: [
            ("world_size", 0), ("world_size", -1), ("world_size", 16_385), ("world_size", 4), ("world_size", 9e15),
            ("world_size", 1.5), ("nodes", []), ("nodes", [0]), ("nodes", [0, -1]), ("nodes", [0, 2]), ("nodes", "0,0"),
            ("run", ""), ("run", ".hidden"), ("run", "a b"), ("run", "a/b"), ("run", .null), ("run", 7),
            ("registration", ""), ("registration", "a\u{0}"), ("host", "a\nb"), ("process_id", -1), ("allocator", ""),
            ("model", ["hidden_size": 0, "layers": [[1]]]), ("model", ["hidden_size": 8, "layers": []]),
            ("model", ["hidden_size": 8, "layers": [[0]]]), ("model", ["hidden_size": 8, "layers": [[-3]]]),
            ("model", ["hidden_size": 8, "layers": [[16_777_217]]]), ("model", [:]),
            ("model", ["hidden_size": 16_777_216, "layers": [[1_048_576], [1]]]), ("memory_limits", [1]),
            ("memory_limits", [-1, 1]), ("memory_limits", [1, 9_007_199_254_740_994]),
            ("exchange", ["latency_seconds": 0, "bytes_per_second": 1e-300]),
            ("exchange", ["latency_seconds": 0, "bytes_per_second": 1e300]),
            ("exchange", ["latency_seconds": 1e300, "bytes_per_second": 1e9]),
            ("exchange", ["latency_seconds": -1e-9, "bytes_per_second": 1e9]),
            ("configuration", ["": "x"]), ("configuration", ["a": 1]),
            ("plan", ["format": 2, "revision": 0, "world_size": 2, "nodes": [0, 0], "layers": []]),
            ("plan", ["format": 1, "revision": -1, "world_size": 2, "nodes": [0, 0], "layers": []]),
            ("plan", ["format": 1, "revision": 0, "world_size": 0, "nodes": [], "layers": []]),
        ] as [(String, JSONValue)])
    func wrongRegistrationsAreRefused(field: String, value: JSONValue) throws {
        var message = try JSONValue(payload(Samples.registerRun()))
        message[field] = value
        let payload = try message.data
        let incoming = MessageCodec.request(payload)
        #expect(incoming.requestID == 5)
        #expect(throws: ControlError.self) { try incoming.request.get() }
    }

    @Test(
        arguments: [
            ("first_step", -1), ("first_step", 9_007_199_254_740_994), ("first_step", 0.5), ("step_seconds", -0.1),
            ("step_seconds", "NaN"), ("step_seconds", 1e300), ("phase_seconds", ["experts": 1e308]),
            ("phase_seconds", ["x": -1]), ("phase_seconds", [1]), ("expert_loads", [[-1]]),
            ("expert_loads", [1]), ("expert_loads", [[0.5]]), ("loss", "inf"), ("tokens", .null),
            ("dropped_tokens", [-1, 0]), ("dropped_tokens", [0.5, 0]), ("dropped_tokens", [1]),
            ("dropped_tokens", [1, 2, 3]), ("dropped_tokens", [0, 9_007_199_254_740_994]), ("dropped_tokens", 1),
            ("dropped_tokens", [[1, 2], [3]]),
        ] as [(String, JSONValue)])
    func wrongSamplesAreRefused(field: String, value: JSONValue) throws {
        var message = try JSONValue(payload(Samples.report()))
        message["sample"]?[field] = value
        let data = try message.data
        #expect(throws: ControlError.self) { try MessageCodec.request(data).request.get() }
    }

    /// What was dropped was routed: to experts, of layers that have loads.
    @Test(
        arguments: [
            ([4], [[1, 2, 3], [4]], "one for each layer"), ([4, 0], nil, "one for each layer"),
            ([], nil, "one for each layer"), ([4, 1], [[1, 2, 3], []], "the layer has no experts"),
            ([4, -1], [[1], [2]], "sample.dropped_tokens[1] is -1"), ([4, 0], [[0], []], nil),
            ([0, 9], [[1], [2]], nil),
        ] as [([Int], [[Int]]?, String?)])
    func droppedTokensComeWithLoads(dropped: [Int], loads: [[Int]]?, problem: String?) throws {
        let report = Samples.report(sample: Samples.sample(loads: loads, dropped: dropped))
        let result = MessageCodec.request(try payload(report)).request
        guard let problem else {
            #expect(result == .success(.report(report)))
            return
        }
        let error = #expect(throws: ControlError.self) { try result.get() }
        #expect(error?.code == .badRequest && error?.message.contains(problem) == true, "\(result)")
    }

    @Test func numbersBeyondDoublesAreRefused() throws {
        let text = String(decoding: try payload(Samples.report()), as: UTF8.self)
        for number in ["1e999", "-1e999", "NaN", "Infinity", "0x10", "1e", "--1"] {
            let spoilt = text.replacing("\"loss\":2.5", with: "\"loss\":\(number)")
            #expect(spoilt != text)
            #expect(throws: ControlError.self, "\(number)") {
                try MessageCodec.request(Data(spoilt.utf8)).request.get()
            }
        }
    }

    @Test func countsOverALimitNameIt() throws {
        var limits = Limits()
        limits.layers = 3
        limits.expertsPerLayer = 4
        limits.experts = 9
        limits.phases = 2
        limits.configurationEntries = 1
        limits.planRanks = 5
        func code(_ request: some ControlRequest) throws -> ControlError.Code? {
            let payload = try payload(request)
            do { _ = try MessageCodec.request(payload, limits: limits).request.get() } catch { return error.code }
            return nil
        }
        func model(_ layers: [[Int]]) -> ExpertModel { ExpertModel(hiddenSize: 8, layers: layers) }
        var registration = Samples.registerRun(model: model([[1], [1], [1]]))
        registration.configuration = [:]
        #expect(try code(registration) == nil)
        registration.model = model([[1], [1], [1], [1]])
        #expect(try code(registration) == .limitExceeded)
        registration.model = model([[1, 1, 1, 1, 1]])
        #expect(try code(registration) == .limitExceeded)
        registration.model = model([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1]])
        #expect(try code(registration) == .limitExceeded)
        registration = Samples.registerRun(model: model([[1]]))
        #expect(try code(registration) == .limitExceeded)
        registration.configuration = [:]
        registration.plan = try Samples.plan
        #expect(try code(registration) == .limitExceeded)
        var report = Samples.report(sample: Samples.sample())
        #expect(try code(report) == nil)
        report.sample.phaseSeconds["third"] = 1
        #expect(try code(report) == .limitExceeded)
    }

    /// Valid messages with bytes changed, removed, doubled: whatever comes out is an error or a request in range.
    @Test func mutatedMessagesNeverTrap() throws {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        let payloads = try Samples.requests.map { try payload($0) }
        let interesting = Array("{}[]\",:-0123456789eE.nulltruefals\\u".utf8)
        var accepted = 0
        for _ in 0..<20_000 {
            var bytes = [UInt8](payloads[Int.random(in: 0..<payloads.count, using: &random)])
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes[index] = interesting[Int.random(in: 0..<interesting.count, using: &random)]
                case 2: bytes.remove(at: index)
                default: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 8)], at: index)
                }
                if bytes.isEmpty { bytes = [0] }
            }
            if let request = try? MessageCodec.request(Data(bytes)).request.get() {
                accepted += 1
                #expect(throws: Never.self, "seed \(seed)") { try request.message.validate(within: .standard) }
            }
        }
        // Changes inside strings leave messages valid: the mutations are not all too coarse.
        #expect(accepted > 100, "seed \(seed)")
    }

    private func payload(_ message: some ControlMessage) throws -> Data {
        try MessageCodec.frame(message, requestID: 5).dropFirst(Frame.headerBytes)
    }
}
