import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import Testing

struct SchemaTests {
    private let validator: SchemaValidator

    init() throws {
        validator = try SchemaValidator()
    }

    @Test func messagesAreValid() throws {
        for message in try messages() {
            #expect(try validator.problems(ofMessage: message) == [], "\(message)")
        }
    }

    @Test func aStartFromACheckpointIsValid() throws {
        var request = Samples.registerRun()
        let plan = try PlacementPlan(worldSize: 2, layers: [])
        for earlier in [nil, plan] {
            request.checkpoint = ResumedCheckpoint(incarnation: 1, revision: 2, step: 3, plan: earlier)
            let message = try JSONValue(payload(request))
            #expect(try validator.problems(ofMessage: message) == [])
            #expect(try MessageCodec.request(payload(request)).request.get().message as? RegisterRun == request)
            var spoilt = message
            spoilt["checkpoint"] = 7
            #expect(try !validator.problems(ofMessage: spoilt).isEmpty)
        }
    }

    @Test func everyMessageHasASchemaAndEverySchemaIsUsed() throws {
        let types = Set(try messages().compactMap { $0["type"]?.text })
        let shared: Set = [
            "change", "checkpoint", "cluster", "exchange_costs", "exec_answer", "exec_request", "expert_id",
            "expert_model",
            "interval", "interval_loads", "layer_placement", "layer_switch", "numbered_event", "openapi",
            "performance_sample", "placement_plan", "plan_observation", "plan_prediction", "plan_summary",
            "rank_timings", "recorded_checkpoint", "run_event", "run_summary", "runs_change", "trace", "trace_interval",
            "trace_plan", "worker_summary",
        ]
        #expect(types.union(shared) == Set(validator.names))
    }

    /// The canary: a validator that lets everything pass would make all the other tests worthless.
    @Test func spoiltMessagesAreInvalid() throws {
        var spoilt = 0
        for message in try messages() {
            guard case .object(let fields) = message else { continue }
            for name in fields.keys {
                var wrong = message
                wrong[name] = JSONValue.null
                #expect(try !validator.problems(ofMessage: wrong).isEmpty, "\(name) of \(message)")
                spoilt += 1
            }
            var extended = message
            extended["surprise"] = 1
            #expect(try !validator.problems(ofMessage: extended).isEmpty, "\(message)")
            for name in ["type", "version"] {
                var shortened = message
                shortened[name] = nil
                #expect(try !validator.problems(ofMessage: shortened).isEmpty, "\(name) of \(message)")
            }
        }
        #expect(spoilt > 100)
    }

    @Test(
        arguments: [
            ("run", "-x"), ("run", ""), ("run", "ü"), ("rank", -1), ("rank", 16_384), ("rank", 0.5), ("incarnation", 0),
            ("version", 2), ("request_id", 9_007_199_254_740_994),
        ] as [(String, JSONValue)])
    func valuesOutOfRangeAreInvalid(field: String, value: JSONValue) throws {
        var message = try JSONValue(payload(Samples.registerWorker()))
        message[field] = value
        #expect(try !validator.problems(ofMessage: message).isEmpty)
    }

    private func messages() throws -> [JSONValue] {
        let messages: [any ControlMessage] = try Samples.requests + Samples.answers
        return try messages.map { try JSONValue(payload($0)) }
    }

    private func payload(_ message: some ControlMessage) throws -> Data {
        try MessageCodec.frame(message, requestID: 5).dropFirst(Frame.headerBytes)
    }
}
