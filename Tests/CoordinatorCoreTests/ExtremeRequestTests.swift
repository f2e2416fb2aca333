import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import ExpertPlacement
import Testing

/// Requests at the ends of what is allowed are answered, by the state machine too.
struct ExtremeRequestTests {
    private let noon = Timestamp(milliseconds: 43_200_000)

    /// The refusal; nil: it was accepted.
    private func refusal(_ request: RegisterRun) -> ControlError? {
        do {
            try request.validate(within: .standard)
        } catch {
            return error
        }
        var core = CoordinatorCore()
        let actions = core.handle(.requested(.registerRun(request), Ticket(1)), at: noon)
        guard case .answer(_, let answer)? = actions.last else {
            Issue.record("no answer")
            return nil
        }
        if case .refused(let error) = answer { return error }
        return nil
    }

    private func registration(_ model: ExpertModel, worldSize: Int, limit: Int?, allocator: String) -> RegisterRun {
        var request = Samples.registerRun(worldSize: worldSize, model: model, allocator: allocator)
        request.memoryLimits = limit.map { [Int](repeating: $0, count: worldSize) }
        return request
    }

    @Test func aModelWhoseBytesCannotBeCountedIsRefused() throws {
        let model = ExpertModel(hiddenSize: 1 << 24, layers: [[Int](repeating: 1 << 24, count: 4_096)])
        for allocator in ["tensor-parallel", "load-balanced", "eplb", "exact"] {
            let request = registration(model, worldSize: 1, limit: 1 << 53, allocator: allocator)
            #expect(refusal(request)?.code == .limitExceeded, "\(allocator)")
        }
    }

    @Test(arguments: [
        "tensor-parallel", "expert-parallel", "replicated", "dp=2,tp=2",
        "dp=9223372036854775807,tp=9223372036854775807",
        "load-balanced", "load-balanced:slots=1000000", "eplb", "eplb:slots=1000000", "eplb:groups=1000000",
        "exact:slots=1000000",
    ])
    func whatIsWithinTheLimitsIsAnswered(allocator: String) throws {
        let models = [
            ExpertModel(hiddenSize: 1 << 20, layers: [[1 << 24]]),
            ExpertModel(hiddenSize: 1 << 24, layers: [[Int](repeating: 256, count: 4_096)]),
            ExpertModel(hiddenSize: 1, layers: [[1, 1 << 24], [], [7]]),
        ]
        for model in models {
            for worldSize in [1, 2, 12, 16_384] {
                for limit in [nil, 0, 1 << 53] {
                    let request = registration(model, worldSize: worldSize, limit: limit, allocator: allocator)
                    let error = refusal(request)
                    let codes: [ControlError.Code] = [.unsuitablePlan, .limitExceeded]
                    #expect(error.map { codes.contains($0.code) } ?? true, "\(String(describing: error))")
                }
            }
        }
    }

    /// Neither is more than a plan may list, nor than one expert alone could be placed by.
    @Test(arguments: ["eplb:groups=8", "load-balanced:groups=8", "eplb", "load-balanced"])
    func groupsAndManyExpertsArePlaced(allocator: String) {
        var grouped = registration(
            ExpertModel(hiddenSize: 8, layers: [[Int](repeating: 4, count: 16), [Int](repeating: 4, count: 32)]),
            worldSize: 4, limit: nil, allocator: allocator)
        #expect(refusal(grouped) == nil)
        grouped.nodes = [0, 0, 1, 1]
        #expect(refusal(grouped) == nil)
        let large = ExpertModel(hiddenSize: 8, layers: [[Int]](repeating: [Int](repeating: 4, count: 256), count: 61))
        #expect(refusal(registration(large, worldSize: 128, limit: nil, allocator: allocator)) == nil)
    }

    /// With these widths `exact` would search for hours.
    @Test func aFirstPlanIsNotSearchedFor() {
        let model = ExpertModel(hiddenSize: 8, layers: [(0..<48).map { 100_000 + $0 * $0 * 37 % 9_973 }])
        let allocator = "exact:slots=4,limit=1000000000"
        #expect(refusal(registration(model, worldSize: 12, limit: nil, allocator: allocator)) == nil)
        let refused = refusal(registration(model, worldSize: 13, limit: nil, allocator: allocator))
        #expect(refused?.code == .unsuitablePlan)
        let narrow = registration(model, worldSize: 12, limit: nil, allocator: "exact:slots=3")
        #expect(refusal(narrow)?.code == .unsuitablePlan)
    }
}
