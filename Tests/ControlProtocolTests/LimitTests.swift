import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import Testing

/// What is at a limit is taken, and what is over it refused with an error that names the field and the limit.
struct LimitTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let limit: any WritableKeyPath<Limits, Int> & Sendable
        let field: String
        /// With so much of what is limited.
        let request: @Sendable (Int) -> any ControlRequest

        init(
            _ limit: any WritableKeyPath<Limits, Int> & Sendable, _ field: String,
            _ request: @escaping @Sendable (Int) -> any ControlRequest
        ) {
            self.limit = limit
            self.field = field
            self.request = request
        }

        var testDescription: String { field }
    }

    private static func text(_ count: Int) -> String { String(repeating: "a", count: count) }

    private static func registration(_ change: (inout RegisterRun) -> Void) -> RegisterRun {
        var request = Samples.registerRun()
        request.configuration = [:]
        change(&request)
        return request
    }

    private static let cases = [
        Case(\.runNameBytes, "run") { count in registration { $0.run = text(count) } },
        Case(\.identifierBytes, "registration") { count in registration { $0.registration = text(count) } },
        Case(\.hostNameBytes, "host") { count in registration { $0.host = text(count) } },
        Case(\.allocatorNameBytes, "allocator") { count in registration { $0.allocator = text(count) } },
        Case(\.identifierBytes, "a configuration key") { count in
            registration {
                $0.registration = "a"
                $0.configuration = [text(count): "x"]
            }
        },
        Case(\.configurationValueBytes, "configuration") { count in
            registration { $0.configuration = ["a": text(count)] }
        },
        Case(\.configurationEntries, "configuration") { count in
            registration {
                $0.configuration = [String: String](uniqueKeysWithValues: (0..<count).map { ("\($0)", "") })
            }
        },
        Case(\.worldSize, "world_size") { count in
            registration {
                $0.worldSize = count
                $0.nodes = [Int](repeating: 0, count: count)
            }
        },
        Case(\.layers, "model.layers") { count in
            registration { $0.model = ExpertModel(hiddenSize: 1, layers: [[Int]](repeating: [1], count: count)) }
        },
        Case(\.expertsPerLayer, "model.layers[0]") { count in
            registration { $0.model = ExpertModel(hiddenSize: 1, layers: [[Int](repeating: 1, count: count)]) }
        },
        Case(\.experts, "model.layers") { count in
            registration { $0.model = ExpertModel(hiddenSize: 1, layers: [[Int](repeating: 1, count: count)]) }
        },
        Case(\.width, "model.hidden_size") { count in
            registration { $0.model = ExpertModel(hiddenSize: count, layers: [[1]]) }
        },
        Case(\.modelSize, "model.hidden_size") { count in
            registration { $0.model = ExpertModel(hiddenSize: count, layers: [[1]]) }
        },
        Case(\.phases, "phase") { count in
            var sample = Samples.sample()
            sample.phaseSeconds = [String: Double](uniqueKeysWithValues: (0..<count).map { ("p\($0)", 1) })
            return Samples.report(sample: sample)
        },
        Case(\.reportsPerFrame, "reports") { count in Samples.reports(1...count) },
        Case(\.reasonBytes, "why") { count in
            ControlPlanning(run: "a", freeze: true, pin: [], unpin: [], dryRun: false, who: "a", why: text(count))
        },
        Case(\.whoBytes, "who") { count in
            ControlPlanning(run: "a", freeze: true, pin: [], unpin: [], dryRun: false, who: text(count), why: "a")
        },
        Case(\.reasonBytes, "reason") { count in
            FinishRun(run: "a", incarnation: 1, outcome: .failed, step: 1, reason: text(count))
        },
    ]

    @Test(arguments: cases) func whatIsOverALimitIsRefused(_ test: Case) throws {
        let limit = 7
        var limits = Limits()
        limits[keyPath: test.limit] = limit
        #expect(try error(test.request(limit), limits) == nil)
        let refusal = try #require(try error(test.request(limit + 1), limits))
        #expect(refusal.code == .limitExceeded)
        #expect(refusal.message.contains(test.field), "\(refusal.message)")
        #expect(refusal.message.contains(/\b7\b/), "\(refusal.message)")
    }

    private func error(_ request: some ControlRequest, _ limits: Limits) throws -> ControlError? {
        let frame = try MessageCodec.frame(request, requestID: 1)
        do {
            _ = try MessageCodec.request(frame.dropFirst(Frame.headerBytes), limits: limits).request.get()
        } catch {
            return error
        }
        return nil
    }
}
