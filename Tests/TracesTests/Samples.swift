import ControlProtocol
import ExpertPlacement
import Foundation
import Traces

enum Samples {
    static let model = ExpertModel(hiddenSize: 16, layers: [[64, 64, 64, 64], [64, 64, 64, 64]])

    static func header() -> TraceHeader {
        TraceHeader(
            run: "shakespeare", source: "recorded", model: model,
            cluster: Cluster(
                nodes: [0, 1], memoryLimits: [1 << 30, 1 << 30],
                exchange: ExchangeCosts(latencySeconds: 1e-5, bytesPerSecond: 1e9), ownership: .decoupled),
            topK: 2, seed: 7)
    }

    static func interval(_ number: Int = 0) -> TraceInterval {
        TraceInterval(
            incarnation: 2, firstStep: 1 + 10 * number, stepCount: 10, planRevision: 3,
            expertLoads: [[5, 6, 7, 8 + number], [0, 1, 2, 3]], tokens: 2560, stepSeconds: 0.5,
            ranks: [
                TraceInterval.RankTiming(
                    rank: 0, stepSeconds: 0.5, phaseSeconds: ["experts": 0.25, "router": 0.0625], expertWork: 1000),
                TraceInterval.RankTiming(rank: 1, stepSeconds: 0.25, phaseSeconds: [:]),
            ])
    }

    static func plan() throws -> TracePlan {
        var allocator = try Allocators.make(named: "expert-parallel")
        guard
            let plan = try allocator.allocateExperts(
                current: nil, model: model, cluster: Cluster(worldSize: 2), step: 0)
        else { throw CancellationError() }
        return TracePlan(
            summary: PlanSummary(
                revision: 3, state: .active, incarnation: 2, createdAt: Timestamp(milliseconds: 1_700_000_000_123),
                who: "planner", why: "better", switchedLayers: 2, layers: 2, bytes: 100, seconds: 0.5),
            plan: plan)
    }

    static func fixture(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures/\(name)").path
    }
}

/// A folder of its own, gone with the test.
final class Folder {
    private let url = FileManager.default.temporaryDirectory.appendingPathComponent("traces-\(UUID().uuidString)")

    init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) -> String { url.appendingPathComponent(name).path }

    func file(_ name: String, _ data: Data) throws -> String {
        try data.write(to: URL(fileURLWithPath: path(name)))
        return path(name)
    }

    func file(_ name: String, _ text: String) throws -> String { try file(name, Data(text.utf8)) }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: url.path).sorted()) ?? [] }
}

/// All lines of a trace.
func lines(_ path: String) throws -> (header: TraceHeader, lines: [TraceLine]) {
    var reader = try TraceReader(path: path)
    var lines = [TraceLine]()
    while let line = try reader.next() { lines.append(line) }
    return (reader.header, lines)
}

func intervals(_ path: String) throws -> [TraceInterval] {
    try lines(path).lines.compactMap { if case .interval(let interval) = $0 { interval } else { nil } }
}
