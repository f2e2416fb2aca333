import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Traces

/// Ranks that are described, not there.
struct ClusterOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Number of ranks (default: those of the trace). Several, to see how a run scales; give it once for each.",
            valueName: "n"))
    var ranks = [Int]()
    @Option(
        help: ArgumentHelp(
            "Number of nodes, over which ranks are spread in order (default: those of the trace, or 1).", valueName: "m"
        ))
    var nodes: Int?
    @Option(help: ArgumentHelp("Ranks on a node, instead of --nodes.", valueName: "n"))
    var ranksPerNode: Int?
    @Option(
        help: ArgumentHelp(
            "Operations a second of each rank in matrix products (default: as measured of each in the trace, or 50e9).",
            valueName: "x"))
    var operationsPerSecond: Double?
    @OptionGroup var links: LinkOptions
    @Option(
        help: ArgumentHelp(
            "Memory of a rank for experts, their optimizer state and their rows (default: as in the trace, or not limited).",
            valueName: "bytes"))
    var memoryLimit: Int?
    @Option(help: "Which ranks hold optimizer state (default: as in the trace, or colocated).")
    var optimizerPlacement: OwnershipPolicy?

    func validate() throws {
        let limits = Limits.standard
        for ranks in ranks { try checkRange(ranks, "--ranks", in: 1...limits.worldSize) }
        guard Set(ranks).count == ranks.count else { throw ValidationError("a --ranks stands there twice") }
        if let nodes { try checkRange(nodes, "--nodes", in: 1...(ranks.min() ?? limits.worldSize)) }
        if let ranksPerNode { try checkRange(ranksPerNode, "--ranks-per-node", in: 1...limits.worldSize) }
        guard nodes == nil || ranksPerNode == nil else {
            throw ValidationError("give either --nodes or --ranks-per-node")
        }
        if let operationsPerSecond { try checkRange(operationsPerSecond, "--operations-per-second", in: 1...1e21) }
        if let memoryLimit { try checkRange(memoryLimit, "--memory-limit", in: 1...limits.integer) }
    }

    /// The ranks, as far as options and the trace say what they are: a cluster for each `--ranks`.
    func clusters(of trace: TraceHeader) throws -> [Cluster] {
        guard let recorded = ranks.isEmpty ? trace.cluster.map({ [$0.worldSize] }) : ranks else {
            throw CommandFailure(code: 64, "the trace does not tell of any ranks: give --ranks")
        }
        return try recorded.map { try cluster(of: trace, ranks: $0) }
    }

    private func cluster(of trace: TraceHeader, ranks: Int) throws -> Cluster {
        let nodes = ranksPerNode.map { (ranks + $0 - 1) / $0 } ?? nodes
        // What is of the recorded ranks one by one says nothing of another number of them.
        let recorded = trace.cluster.flatMap { $0.worldSize == ranks ? $0 : nil }
        let count = nodes ?? 1
        guard count <= ranks else {
            throw CommandFailure(code: 64, "--nodes \(count) are more than there are ranks, \(ranks)")
        }
        return Cluster(
            nodes: ranksPerNode.map { size in (0..<ranks).map { $0 / size } } ?? (nodes == nil ? recorded?.nodes : nil)
                ?? Cluster.nodes(ranks: ranks, nodes: count),
            memoryLimits: memoryLimit.map { [Int](repeating: $0, count: ranks) } ?? recorded?.memoryLimits,
            exchange: links.exchange(otherwise: trace.cluster?.exchange),
            exchangeBetweenNodes: links.betweenNodes(otherwise: trace.cluster),
            ownership: optimizerPlacement ?? trace.cluster?.ownership ?? .defaultPolicy)
    }
}
