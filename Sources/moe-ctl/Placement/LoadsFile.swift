import Foundation

/// Loads of experts in a file: a JSON matrix [layer][expert] of rows in a step.
enum LoadsFile {
    static func read(_ path: String) throws -> [[Double]] {
        let data = try InputFile.read(path)
        do {
            return try JSONDecoder().decode([[Double]].self, from: data)
        } catch {
            throw CommandFailure(
                "\(InputFile.name(path)) has no loads: \(InputFile.reason(error)); give a JSON list with a list of numbers for "
                    + "each layer, one an expert, such as expert_load in a line of moe-worker --metrics")
        }
    }
}
