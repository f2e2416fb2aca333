import ExpertPlacement
import Mixtral

extension MixtralModel {
    /// Matches the paths of all groups of experts, whatever the type of the model.
    static let expertsPattern = #"model\.layers\.\d+\.(block_sparse_moe|mlp)\.experts"#
}

extension MixtralConfiguration {
    /// How many layers there are, of how many experts, for people to read.
    package var layerSummary: String {
        let (sparse, dense) = (sparseLayers.count, layers - sparseLayers.count)
        return "\(sparse) layer\(sparse == 1 ? "" : "s") of \(experts) experts"
            + (dense == 0 ? "" : " and \(dense) dense")
    }
}

extension ExpertModel {
    /// What an allocator has to know of a model: of its layers those that have experts.
    public init(_ configuration: MixtralConfiguration) {
        self.init(hiddenSize: configuration.hiddenSize, layers: configuration.expertWidths)
    }
}
