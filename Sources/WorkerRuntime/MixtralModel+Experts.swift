import Mixtral

extension MixtralModel {
    /// Matches the paths of all groups of experts.
    static let expertsPattern = #"model\.layers\.\d+\.block_sparse_moe\.experts"#
}
