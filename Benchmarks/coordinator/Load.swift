import ControlProtocol
import ExpertPlacement
import Foundation

/// What clients send.
struct Load {
    let clients: Int
    let ranks: Int
    let inFlight: Int
    private let phases: [String: Double]

    init(clients: Int, ranks: Int, inFlight: Int, reportBytes: Int) {
        self.clients = clients
        self.ranks = min(ranks, clients)
        self.inFlight = min(inFlight, clients)
        // As many phases of the usual length as it takes.
        var phases = [String: Double]()
        while phases.count < Limits.standard.phases,
            Self.frame(Self.report("run-0000", 0, phases))?.count ?? 0 < reportBytes
        { phases["layer-\(phases.count).dispatch"] = 1 / Double(phases.count + 7) }
        self.phases = phases
    }

    /// The frame of a client's reports, with numbers of a fixed width that can be replaced in place.
    func frame(_ client: Int, reports: Int) throws -> Data {
        let report = report(run(of: client), client % ranks)
        guard reports > 1 else { return try MessageCodec.frame(report, requestID: Self.number) }
        return try MessageCodec.frame(
            Reports(
                run: report.run, incarnation: report.incarnation, rank: report.rank,
                reports: (0..<reports).map { Reports.Item(sequence: Self.number + $0, sample: report.sample) }),
            requestID: Self.number)
    }

    var frameBytes: Int { Self.frame(report("run-0000", 0))?.count ?? 0 }

    func run(of client: Int) -> String { "run-\(1_000 + client / ranks)" }

    /// - Parameter reports: of a frame.
    func connect(to server: ServerProcess, reports: Int = 1) throws -> Connections {
        try Connections(self, to: server, reports: reports)
    }

    /// A report with a sequence and a request number of a fixed width, so that they can be replaced in place.
    func report(_ run: String, _ rank: Int) -> Report { Self.report(run, rank, phases) }

    static let number = 1_000_000_000

    private static func report(_ run: String, _ rank: Int, _ phases: [String: Double]) -> Report {
        Report(
            run: run, incarnation: 1, rank: rank, sequence: number,
            sample: PerformanceSample(
                firstStep: 1, stepCount: 10, planRevision: 1, stepSeconds: 1 / 3, phaseSeconds: phases,
                bytesSent: 123_456_789, tokens: 40_960, residentBytes: 987_654_321))
    }

    private static func frame(_ report: Report) -> Data? {
        try? MessageCodec.frame(report, requestID: number)
    }

    func registrations() -> [any ControlRequest] {
        Set((0..<clients).map(run)).sorted().flatMap { run -> [any ControlRequest] in
            let members = (0..<clients).filter { self.run(of: $0) == run }
            let model = ExpertModel(
                hiddenSize: 256, layers: [[Int]](repeating: [Int](repeating: 1_024, count: 8), count: 4))
            let register = RegisterRun(
                run: run, registration: run, worldSize: members.count, nodes: members.map { _ in 0 }, model: model,
                allocator: "tensor-parallel", host: "localhost", processID: 1, configuration: [:])
            return [register]
                + members.indices.map {
                    RegisterWorker(run: run, incarnation: 1, rank: $0, host: "localhost", processID: 1)
                        as any ControlRequest
                }
        }
    }
}
