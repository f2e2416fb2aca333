/// One layer's replicas to place: whole experts (TP 1) on ranks with a limited number of slots.
public struct ReplicaProblem: Sendable {
    /// Forecast rows of each expert in a step, E entries, none negative.
    public let loads: [Double]
    /// Standard deviation of each forecast, E entries.
    public let deviations: [Double]
    /// Seconds a rank needs for one row, W entries, all positive: a slow machine has more.
    public let secondsPerRow: [Double]
    /// Experts a rank has memory for, W entries.
    public let slots: [Int]
    /// Replicas of all experts together, at most.
    public let replicaLimit: Int
    /// Node of each rank, W entries, counted from 0: replicas of an expert are spread over nodes; nil: one node.
    public let nodes: [Int]?
    /// The time that no placement can beat when forecasts are right: all ranks equally busy, and no expert with more
    /// replicas than the limit leaves.
    public let lowerBound: Double
    /// Ranks of each expert in the plan in force, E entries; nil: nothing is placed yet.
    public var current: [[Int]]?
    /// Share of its expert's rows on each rank of `current`, from where the search for better ones starts; nil: even ones.
    public var currentFractions: [[Double]]?

    /// - Throws: `PlacementError.unsuitableAllocator` when the counts do not fit or the experts do not fit the slots.
    public init(
        loads: [Double], deviations: [Double]? = nil, secondsPerRow: [Double], slots: [Int], replicaLimit: Int? = nil,
        nodes: [Int]? = nil, current: [[Int]]? = nil, currentFractions: [[Double]]? = nil
    ) throws(PlacementError) {
        let deviations = deviations ?? [Double](repeating: 0, count: loads.count)
        guard loads.count == deviations.count, current == nil || current?.count == loads.count else {
            throw .unsuitableAllocator(
                "\(loads.count) loads, \(deviations.count) deviations and \(current?.count ?? 0) experts in the plan; "
                    + "give one of each an expert")
        }
        guard currentFractions == nil || currentFractions?.map(\.count) == current?.map(\.count) else {
            throw .unsuitableAllocator("give a fraction for each replica of the plan")
        }
        guard !slots.isEmpty, slots.count == secondsPerRow.count else {
            throw .unsuitableAllocator(
                "slots of \(slots.count) ranks and speeds of \(secondsPerRow.count); give one of each a rank, "
                    + "for one at least")
        }
        guard nodes == nil || nodes?.count == slots.count else {
            throw .unsuitableAllocator("nodes of \(nodes?.count ?? 0) ranks; give one of each of \(slots.count)")
        }
        guard (loads + deviations).allSatisfy({ $0.isFinite && $0 >= 0 && $0 <= Self.largest }) else {
            throw .unsuitableAllocator(
                "loads and deviations must be finite and not negative, and none above \(Self.largest)")
        }
        guard secondsPerRow.allSatisfy({ $0 >= 1 / Self.largest && $0 <= Self.largest }) else {
            throw .unsuitableAllocator(
                "seconds a row must be positive, from \(1 / Self.largest) to \(Self.largest), but are \(secondsPerRow)")
        }
        guard slots.allSatisfy({ $0 >= 0 }) else { throw .unsuitableAllocator("slots \(slots) must not be negative") }
        // A rank holds an expert once, so further slots are of no use.
        let usable = slots.map { min($0, loads.count) }
        let total = usable.reduce(0, +)
        let limit = min(replicaLimit ?? total, total)
        guard limit >= loads.count else {
            throw .unsuitableAllocator(
                "\(loads.count) experts do not fit the \(limit) slots that memory leaves; allow more memory "
                    + "a rank or more ranks")
        }
        // So few rows are none.
        self.loads = loads.map { $0 < 1 / Self.largest ? 0 : $0 }
        self.deviations = deviations
        self.secondsPerRow = secondsPerRow
        self.slots = usable
        self.replicaLimit = limit
        self.nodes = nodes.flatMap { nodes in
            nodes.contains { $0 != nodes[0] } ? NodeLinks.counted(nodes) : nil
        }
        self.current = current
        self.currentFractions = currentFractions
        lowerBound = Self.lowerBound(self.loads, secondsPerRow, replicaLimit: limit)
    }

    /// Squares of numbers up to this one, times another, are finite.
    private static let largest = 1e50

    /// W.
    public var worldSize: Int { slots.count }

    private static func lowerBound(_ loads: [Double], _ secondsPerRow: [Double], replicaLimit: Int) -> Double {
        let total = loads.reduce(0, +)
        let speeds = secondsPerRow.map { 1 / $0 }.sorted(by: >)
        var bound = total / speeds.reduce(0, +)
        // Expert e on n ranks takes at least its load over the speed of the n fastest.
        let replicasOfOne = min(replicaLimit - loads.count + 1, secondsPerRow.count)
        if let largest = loads.max(), replicasOfOne > 0 {
            bound = max(bound, largest / speeds.prefix(replicasOfOne).reduce(0, +))
        }
        return bound
    }
}
