/// Which layers of a new plan switch before which step, so that no step moves more than a budget.
public struct MigrationSchedule: Hashable, Sendable {
    /// Layers that switch before the first step, the second, and so on. A layer switches as a whole, so one that is beyond
    /// the budget has a step for itself.
    public let layersByStep: [[Int]]

    /// - Parameters:
    ///   - budgetBytes: what all ranks together may send before one step; nil: anything.
    ///   - order: of the layers; nil: from 0.
    public init(_ migration: Migration, hiddenSize: Int, budgetBytes: Int? = nil, order: [Int]? = nil) {
        self.init(
            bytes: migration.layers.map { $0.bytes(hiddenSize: hiddenSize) }, budgetBytes: budgetBytes, order: order)
    }

    /// - Parameter bytes: that move, of each layer.
    init(bytes: [Int], budgetBytes: Int?, order: [Int]? = nil) {
        let order = order ?? Array(bytes.indices)
        // What costs nothing need not wait.
        var steps = [order.filter { bytes[$0] == 0 }]
        var spent = 0
        for layer in order where bytes[layer] > 0 {
            let (sum, overflow) = spent.addingReportingOverflow(bytes[layer])
            if spent > 0, let budgetBytes, overflow || sum > budgetBytes {
                steps.append([])
                spent = 0
            }
            steps[steps.count - 1].append(layer)
            spent += bytes[layer]
        }
        layersByStep = steps
    }

    /// The step from which each layer is under the new plan, when the first switch is before `firstStep`.
    public func switchSteps(firstStep: Int) -> [Int: Int] {
        Dictionary(
            uniqueKeysWithValues: layersByStep.enumerated().flatMap { offset, layers in
                layers.map { ($0, firstStep + offset) }
            })
    }
}
