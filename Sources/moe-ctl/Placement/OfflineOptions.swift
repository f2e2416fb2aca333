import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Listings

/// What `placement plan` needs to know when there is no run that tells.
struct OfflineOptions: ParsableArguments {
    /// Of Mixtral 8x7B.
    static let defaultWidth = 14_336
    static let defaultHiddenSize = 4_096

    @Option(
        help: ArgumentHelp(
            "Plan without a coordinator for these loads: a JSON matrix [layer][expert] of rows in a step; - is standard input.",
            valueName: "file"),
        completion: .file())
    var loads: String?
    @Option(help: "Number of ranks (with --loads).")
    var ranks: Int?
    @Option(help: "Number of nodes, over which ranks are spread in order (with --loads; default: 1).")
    var nodes: Int?
    @Option(
        help: ArgumentHelp(
            "Allocator that plans (with --loads; default: load-balanced). One of \(Allocators.names.joined(separator: ", ")); "
                + "options stand behind a colon.", valueName: "name"))
    var allocator: String?
    @Option(
        help: ArgumentHelp(
            "Width of every expert, in neurons (with --loads; default: \(defaultWidth), or that of --current).",
            valueName: "f"))
    var width: Int?
    @Option(
        help: ArgumentHelp("Hidden size of the model (with --loads; default: \(defaultHiddenSize)).", valueName: "d"))
    var hiddenSize: Int?
    @Option(
        help: ArgumentHelp(
            "Memory of a rank for experts, their optimizer state and their rows (with --loads; default: not limited).",
            valueName: "bytes"))
    var memoryLimit: Int?
    @Option(
        help: ArgumentHelp("Plan in force, from which little is to move (with --loads).", valueName: "file"),
        completion: .file())
    var current: String?
    @Option(help: "Which ranks hold optimizer state (with --loads; default: colocated).")
    var optimizerPlacement: OwnershipPolicy?

    @OptionGroup var links: LinkOptions

    func validate() throws {
        guard loads != nil else {
            let others: [(name: String, isGiven: Bool)] =
                [
                    ("--ranks", ranks != nil), ("--nodes", nodes != nil), ("--allocator", allocator != nil),
                    ("--width", width != nil), ("--hidden-size", hiddenSize != nil),
                    ("--memory-limit", memoryLimit != nil),
                    ("--current", current != nil), ("--optimizer-placement", optimizerPlacement != nil),
                ] + links.given
            if let other = others.first(where: \.isGiven) {
                throw ValidationError("\(other.name) is for a plan without a coordinator: give --loads as well")
            }
            return
        }
        guard let ranks else { throw ValidationError("--loads needs the number of ranks: give --ranks") }
        let limits = Limits.standard
        try checkRange(ranks, "--ranks", in: 1...limits.worldSize)
        if let nodes { try checkRange(nodes, "--nodes", in: 1...ranks) }
        if let width { try checkRange(width, "--width", in: 1...limits.width) }
        if let hiddenSize { try checkRange(hiddenSize, "--hidden-size", in: 1...limits.width) }
        if let memoryLimit { try checkRange(memoryLimit, "--memory-limit", in: 1...limits.integer) }
        if let allocator {
            do {
                _ = try Allocators.make(named: allocator)
            } catch {
                throw ValidationError("--allocator: \(error)")
            }
        }
        if loads == "-", current == "-" {
            throw ValidationError("--loads and --current cannot both be standard input: name a file for one")
        }
    }

    /// The question, with what the files say.
    func question(loads path: String, ranks: Int) throws -> OfflinePlan {
        let matrix = try LoadsFile.read(path)
        let plan = try current.map(PlanFile.read)
        let widths = plan.map { $0.layers.map { $0.experts.map(\.width) } }
        let width = width ?? widths?.first?.first ?? Self.defaultWidth
        var question: OfflinePlan
        do {
            question = try OfflinePlan(
                loads: matrix, ranks: ranks, nodes: nodes ?? 1, allocator: allocator ?? "load-balanced",
                memoryLimit: memoryLimit, width: width, hiddenSize: hiddenSize ?? Self.defaultHiddenSize)
        } catch {
            throw CommandFailure("\(InputFile.name(path)): \(error)")
        }
        let experts = matrix.reduce(0) { $0 + $1.count }
        let limits = Limits.standard
        guard matrix.count <= limits.layers, experts <= limits.experts,
            matrix.allSatisfy({ $0.count <= limits.expertsPerLayer })
        else {
            throw CommandFailure(
                "\(InputFile.name(path)) has \(matrix.count) layers and \(experts) experts, over the limits of "
                    + "\(limits.layers) layers, \(limits.expertsPerLayer) experts of one and \(limits.experts) in all")
        }
        if let plan, let widths, let current {
            if self.width == nil { question.model = ExpertModel(hiddenSize: question.model.hiddenSize, layers: widths) }
            let shape = widths.map(\.count)
            guard shape == matrix.map(\.count) else {
                throw CommandFailure(
                    "\(InputFile.name(current)) is a plan for \(Readable.shape(shape)), but \(InputFile.name(path)) has loads "
                        + "of \(Readable.shape(matrix.map(\.count)))")
            }
            guard plan.worldSize == ranks else {
                throw CommandFailure(
                    "\(InputFile.name(current)) is a plan for \(plan.worldSize) ranks: give --ranks \(plan.worldSize)")
            }
            question.current = plan
        }
        question.cluster.ownership = optimizerPlacement ?? .defaultPolicy
        if links.given.contains(where: \.isGiven) {
            question.cluster.exchange = links.exchange(otherwise: nil)
            question.cluster.exchangeBetweenNodes = links.betweenNodes()
        }
        return question
    }
}
