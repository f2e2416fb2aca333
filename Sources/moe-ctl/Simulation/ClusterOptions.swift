import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Traces

/// Ranks that are described, not there.
struct ClusterOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Number of ranks (default: those of the trace).", valueName: "n"))
    var ranks: Int?
    @Option(
        help: ArgumentHelp(
            "Number of nodes, over which ranks are spread in order (default: those of the trace, or 1).", valueName: "m"
        ))
    var nodes: Int?
    @Option(
        help: ArgumentHelp(
            "Operations a second of a rank in matrix products (default: as measured in the trace, or 50e9).",
            valueName: "x"))
    var operationsPerSecond: Double?
    @OptionGroup var links: LinkOptions
    @Option(
        help: ArgumentHelp(
            "Memory of a rank for experts, their optimizer state and their rows (default: not limited).",
            valueName: "bytes"))
    var memoryLimit: Int?
    @Option(help: "Which ranks hold optimizer state (default: as in the trace, or colocated).")
    var optimizerPlacement: OwnershipPolicy?

    func validate() throws {
        let limits = Limits.standard
        if let ranks { try checkRange(ranks, "--ranks", in: 1...limits.worldSize) }
        if let nodes { try checkRange(nodes, "--nodes", in: 1...(ranks ?? limits.worldSize)) }
        if let operationsPerSecond { try checkRange(operationsPerSecond, "--operations-per-second", in: 1...1e21) }
        if let memoryLimit { try checkRange(memoryLimit, "--memory-limit", in: 1...limits.integer) }
    }

    /// The ranks, as far as options and the trace say what they are.
    func cluster(of trace: TraceHeader) throws -> Cluster {
        guard let ranks = ranks ?? trace.cluster?.worldSize else {
            throw CommandFailure(code: 64, "the trace does not tell of any ranks: give --ranks")
        }
        let recorded = nodes == nil && trace.cluster?.worldSize == ranks ? trace.cluster?.nodes : nil
        let count = nodes ?? 1
        guard count <= ranks else {
            throw CommandFailure(code: 64, "--nodes \(count) are more than there are ranks, \(ranks)")
        }
        return Cluster(
            nodes: recorded ?? Cluster.nodes(ranks: ranks, nodes: count),
            memoryLimits: memoryLimit.map { [Int](repeating: $0, count: ranks) },
            exchange: links.exchange(otherwise: trace.cluster?.exchange),
            exchangeBetweenNodes: links.betweenNodes(otherwise: trace.cluster),
            ownership: optimizerPlacement ?? trace.cluster?.ownership ?? .defaultPolicy)
    }
}
