// TokenData
