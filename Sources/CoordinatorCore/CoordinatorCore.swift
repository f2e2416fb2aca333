// CoordinatorCore
