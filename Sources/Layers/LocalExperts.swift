import Tensors

/// All experts of a layer, in this process.
public final class LocalExperts: ExpertGroup {
    public let hiddenSize: Int
    public let names: ExpertNames
    /// What random numbers of the router depend on; nil: they are the same in each pass.
    public var tokenGroup: (any TokenGroup)?
    private let experts: ModuleList<Expert>
    private let timer: PhaseTimer

    private struct Saved {
        let order: ExpertOrder
        /// Outputs by place, (N, D), before they are weighted.
        let results: Tensor
    }
    private var saved: Saved?

    /// - Parameters:
    ///   - widths: F of each expert.
    ///   - timer: takes the seconds of `Phase.experts`.
    public init(
        hiddenSize: Int, widths: [Int], names: ExpertNames = .numbered, timer: PhaseTimer = PhaseTimer()
    ) {
        self.hiddenSize = hiddenSize
        self.names = names
        self.timer = timer
        experts = ModuleList(widths.map { Expert(hiddenSize: hiddenSize, width: $0, names: names) })
    }

    public var expertCount: Int { experts.elements.count }
    public var widths: [Int] { experts.elements.map(\.width) }
    public var children: [(name: String, module: any Module)] { experts.children }

    public func forward(_ x: Tensor, routing: Routing, savingForBackward: Bool) -> Tensor {
        precondition(
            routing.tokenCount == x.rows && routing.expertCount == expertCount,
            "the routing is of other tokens or experts")
        return timer.measure(.experts) {
            let order = ExpertOrder(routing)
            let rows = Tensor(rows: routing.count, columns: hiddenSize)
            Rows.gather(x, indices: order.tokens, into: rows)
            let results = Tensor(rows: routing.count, columns: hiddenSize)
            for (expert, places) in zip(experts.elements, order.places) where !places.isEmpty {
                expert.forward(rows.rows(places), into: results.rows(places), savingForBackward: savingForBackward)
            }
            let y = Tensor(rows: x.rows, columns: hiddenSize, repeating: 0)
            Rows.scatterAdd(results, indices: order.tokens, scales: order.weights, into: y)
            saved = savingForBackward ? Saved(order: order, results: results) : nil
            return y
        }
    }

    public func backward(_ outputGradient: Tensor) -> (inputGradient: Tensor, weightGradient: [Float]) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        return timer.measure(.experts) {
            let order = saved.order
            let rows = Tensor(rows: order.rows.count, columns: hiddenSize)
            Rows.gather(outputGradient, indices: order.tokens, into: rows)
            // dL/dweight of a row is the product of dy with the expert's output.
            var weightGradient = [Float](repeating: 0, count: order.rows.count)
            for (row, product) in zip(order.rows, Rows.dots(rows, saved.results)) { weightGradient[Int(row)] = product }

            Rows.scale(rows, by: order.weights, into: rows)
            let results = saved.results  // Needed no more: its memory takes the gradients.
            for (expert, places) in zip(experts.elements, order.places) where !places.isEmpty {
                expert.backward(rows.rows(places), into: results.rows(places))
            }
            let inputGradient = Tensor(rows: outputGradient.rows, columns: hiddenSize, repeating: 0)
            Rows.scatterAdd(results, indices: order.tokens, scales: nil, into: inputGradient)
            return (inputGradient, weightGradient)
        }
    }
}
